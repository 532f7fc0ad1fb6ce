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
SHOW = (
    "docker ps -aq --no-trunc | xargs -r docker inspect --type container; "
    "docker volume ls -q | xargs -r docker volume inspect"
)


# How the network was before an engine changed it, one `key=value` a line.
NETWORK = r"""
echo "forward=$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')"
echo "ip_forward=$(cat /proc/sys/net/ipv4/ip_forward)"
echo "tables=$(nft list tables 2>/dev/null | sed 's/^table //' | tr '\n' ',')"
echo "group=$(getent group docker >/dev/null && echo yes)"
"""
# Takes an engine's rules, chains and bridge away, and leaves everybody else's. Arguments: the
# policy of FORWARD, ip_forward, the tables that were there, whether there was a group `docker`.
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
    """The containers and volumes in the output of `SHOW` that were not made by us, by name.

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


def _is_ours(item: dict[str, object]) -> bool:
    return any(label.startswith(LABELS) for label in _labels(item))


def _labels(item: dict[str, object]) -> dict[str, str]:
    config = item.get("Config")
    labels = config.get("Labels") if isinstance(config, dict) else item.get("Labels")
    return labels if isinstance(labels, dict) else {}


def _name(item: dict[str, object]) -> str:
    kind = "container" if "Config" in item else "volume"
    return f"{kind} {str(item.get('Name', '')).lstrip('/')}"
