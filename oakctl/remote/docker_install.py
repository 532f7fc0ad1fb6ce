"""Docker on a host: whether we put it there, which packages, and what would stay of it. Pure.

Does not belong here: doing it (`playbooks/docker.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.remote.facts import HostFacts

ENGINE = "docker.io"
CLIENT = "docker-cli"  # a package of its own since Debian 13, else part of the engine's
LABELS = "oakctl."  # what labels of ours begin with
FOLDERS = ("/var/lib/docker", "/var/lib/containerd", "/etc/docker", "/etc/containerd", "/etc/cni")
PUSHED = "oakctl.invalid/"  # what images of ours are called that came without a registry
OWN_NAMESPACES = ("moby", "plugins.moby")  # Docker's own in containerd
NAMED = 5  # of what others have, in a message

# What an engine has. An engine that gives no answer to one of these has not answered: it is never
# one that has nothing.
SHOW = r"""
containers=$(docker ps -aq --no-trunc) || exit 1
volumes=$(docker volume ls -q) || exit 1
images=$(docker images -q --no-trunc) || exit 1
[ -z "$containers" ] || docker inspect --type container $containers || exit 1
[ -z "$volumes" ] || docker volume inspect $volumes || exit 1
[ -z "$images" ] || docker image inspect $images || exit 1
"""
# Who else keeps something in the containerd that came with it.
NAMESPACES = "command -v ctr >/dev/null || exit 0; ctr namespaces list -q"
# What an engine that does not answer has on the disk, in words.
ON_DISK = r"""
none() { [ -z "$(find "$@" 2>/dev/null | head -n 1)" ]; }
docker=/var/lib/docker containerd=/var/lib/containerd
none $docker/containers -mindepth 1 -maxdepth 1 -type d || echo containers
none $docker/volumes -mindepth 1 -maxdepth 1 -type d || echo volumes
none $docker/image/*/imagedb/content/sha256 $containerd/io.containerd.content.v1.content/blobs \
    -type f || echo images
[ ! -e /etc/docker/daemon.json ] || ! grep -q data-root /etc/docker/daemon.json ||
    echo "a data-root of its own"
"""

# How the network was before an engine changed it, one `key=value` a line.
NETWORK = r"""
echo "forward=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')"
echo "ip_forward=$(cat /proc/sys/net/ipv4/ip_forward)"
echo "tables=$(nft list tables 2>/dev/null | sed 's/^table //' | tr '\n' ',')"
echo "group=$(getent group docker >/dev/null && echo yes)"
"""
# Takes an engine's rules, chains and bridge away, and leaves everybody else's. Arguments: the
# policy of FORWARD, ip_forward, the tables that were there.
CLEAN = r"""
systemctl stop docker.socket docker.service containerd.service 2>/dev/null
for tool in iptables ip6tables; do
    command -v $tool >/dev/null || continue
    for table in filter nat raw mangle; do
        $tool -t $table -S 2>/dev/null | grep -E '^-A .*(DOCKER|docker0)' | sed 's/^-A/-D/' |
        while IFS= read -r rule; do printf '%s
' "$rule" | xargs $tool -t $table; done
        chains=$($tool -t $table -S 2>/dev/null | sed -n 's/^-N \(DOCKER[^ ]*\)$//p')
        for chain in $chains; do $tool -t $table -F $chain; done
        for chain in $chains; do $tool -t $table -X $chain; done
    done
done
[ -z "$1" ] || iptables -P FORWARD "$1" 2>/dev/null
echo "$2" >/proc/sys/net/ipv4/ip_forward 2>/dev/null
nft list tables 2>/dev/null | sed 's/^table //' | while read -r family name; do
    case ",$3," in *",$family $name,"*) continue ;; esac
    # Empty but for chains: nobody has put a rule there since.
    nft list table $family $name | grep -Evq '^(table|	chain|		type|	?}|$)' ||
        nft delete table $family $name
done
ip link delete docker0 2>/dev/null
true
"""


def network(answer: str) -> dict[str, str]:
    """The answer to `NETWORK`. Where there were no iptables yet, nothing was held back."""
    found = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    return found | {"forward": found.get("forward") or "ACCEPT"}


@dataclass(frozen=True)
class Refusal:
    """Why Docker is not installed on a host, and what to do instead."""

    reason: str
    remedy: str


def refusal(facts: HostFacts, *, as_root: bool) -> Refusal | None:
    """None where the distribution's Docker can be installed."""
    if facts.architecture == "armv6l" or facts.kernel == "armv6l":
        return Refusal(
            "there is no supported Docker for ARMv6 (Raspberry Pi 1 and Zero): Debian's armhf "
            "programs need ARMv7, and Docker gave up Raspbian with its version 29",
            "use it for services with `virtualization: process`, or take a newer Raspberry Pi",
        )
    if not as_root:
        return Refusal(
            f"{facts.user} may not become the superuser, who installs packages",
            "as an administrator of it: sudo apt-get install docker.io",
        )
    return None


def packages(known: Sequence[str]) -> list[str]:
    """What to install, of what the host's package sources have; empty: there is no engine."""
    if ENGINE not in known:
        return []
    return [ENGINE, CLIENT] if CLIENT in known else [ENGINE]


def not_ours(inspected: str) -> list[str]:
    """The containers, volumes and images in the output of `SHOW` that are not of our making.

    An image without a name that came from a registry is nobody's: its name went on to another.

    Raises ValueError when that is not what it is.
    """
    found: list[str] = []
    decoder, at = json.JSONDecoder(), 0
    text = inspected.strip()
    while at < len(text):
        items, at = decoder.raw_decode(text, at)
        found += [_name(item) for item in items if not _is_ours(item)]
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def strangers(listed: str) -> list[str]:
    """The namespaces in the output of `NAMESPACES` that are not Docker's own."""
    return [f"containerd's {name}" for name in listed.split() if name not in OWN_NAMESPACES]


def left_there(listed: str) -> str:
    """What the output of `ON_DISK` means, in words; empty: there is nothing to be lost."""
    found = ", ".join(listed.splitlines())
    return f"it does not answer, and has {found} on the disk" if found else ""


def named(found: Sequence[str]) -> str:
    """The first few of these names, and how many more there are."""
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def _is_ours(item: dict[str, object]) -> bool:
    if "RepoTags" in item:
        tags = item.get("RepoTags")
        if not isinstance(tags, list) or not tags:
            return bool(item.get("RepoDigests"))
        return all(str(tag).startswith(PUSHED) for tag in tags)
    return any(label.startswith(LABELS) for label in _labels(item))


def _labels(item: dict[str, object]) -> dict[str, str]:
    config = item.get("Config")
    labels = config.get("Labels") if isinstance(config, dict) else item.get("Labels")
    return labels if isinstance(labels, dict) else {}


def _name(item: dict[str, object]) -> str:
    if "RepoTags" in item:
        tags = item.get("RepoTags")
        return f"image {tags[0] if isinstance(tags, list) and tags else item.get('Id', '')}"
    kind = "container" if "Config" in item else "volume"
    return f"{kind} {str(item.get('Name', '')).lstrip('/')}"
