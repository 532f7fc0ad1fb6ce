"""What can be done on a host: the questions, and the answers read. Pure.

Belongs here: one short script that changes nothing, and `Means`, what it found. Does not belong
here: what follows (`possible`), asking (`hosts`). It is not `remote.facts`, which a client has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

OURS = "/opt/oakctl"  # where we live as the superuser
HOME = ".oakctl"  # below the home directory otherwise

# $1 a nonce, so that nothing a login shell prints is taken for an answer.
QUESTIONS = r"""
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export PATH LC_ALL=C
have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s %s=%s\n' "$mark" "$1" "$(printf '%s' "$2" | tr '\n' ' ')"; }
mark=$1
say clock "$(date +%s.%N)"
say uid "$(id -u)"
say boot "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
prefix=$HOME/.oakctl
[ -e "$prefix/manifest.json" ] || prefix=/opt/oakctl
[ -d "$prefix" ] || prefix=
say prefix "$prefix"
say plain "${OAKCTL_SUPERVISOR:-}"
say loopback "${OAKCTL_LOOPBACK_NUMBER:-}"
have systemctl && [ -d /run/systemd/system ] && say systemd yes
have systemd-run && say systemd_run yes
[ -n "$(cat /run/systemd/container 2>/dev/null)" ] && say container yes
grep -qs container= /proc/1/environ && say container yes
have systemd-detect-virt && systemd-detect-virt -cq 2>/dev/null && say container yes
have nft && say nft yes
have tc && say tc yes
{ [ -d /sys/module/sch_netem ] || modinfo sch_netem >/dev/null 2>&1; } && say netem yes
zcat /proc/config.gz 2>/dev/null | grep -qs '^CONFIG_NET_SCH_NETEM=y' && say netem yes
grep -qs '^CONFIG_NET_SCH_NETEM=y' "/boot/config-$(uname -r)" && say netem yes
say ssh "${SSH_CONNECTION:-}"
have ip && ip -o addr show scope global 2>/dev/null | awk '{ print $2, $4 }' |
    while read -r link address; do say address "$link $address"; done
say disk "$(stat -f -c '%S %b %f %a' "${prefix:-/}" 2>/dev/null)"
have docker && say docker yes
say end yes
"""

# Interfaces that lead to other things on the same host, or are our own overlay's.
INNER = ("lo", "docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "oak")


@dataclass(frozen=True)
class Means:
    """What a host has. Texts come from it and are not to be trusted."""

    uid: int = -1
    boot: str = ""  # the id of this run of its kernel
    prefix: str = ""  # where we live; empty: nowhere
    plain: bool = False  # a lab's keeper keeps its units
    loopback: bool = False  # it shares this machine's network
    systemd: bool = False
    systemd_run: bool = False
    container: bool = False
    nft: bool = False
    tc: bool = False
    netem: bool = False
    docker: bool = False
    client: str = ""  # the address that our SSH comes from, as the host sees it
    ssh_port: int = 0  # that it comes to there
    links: tuple[tuple[str, str], ...] = ()  # (interface, address), without inner ones
    disk_mb: float = 0.0  # MiB, of the prefix's file system
    clock: float = 0.0  # seconds since the epoch

    @property
    def superuser(self) -> bool:
        """Whether we are root there, or live there as root does."""
        return self.uid == 0 or self.prefix == OURS

    @property
    def sudo(self) -> bool:
        """Whether commands have to become the superuser's."""
        return self.uid != 0 and self.prefix == OURS

    @property
    def uplinks(self) -> tuple[str, ...]:
        """Interfaces that lead off the host."""
        return tuple(dict.fromkeys(link for link, _ in self.links))

    @property
    def addresses(self) -> tuple[str, ...]:
        """By which others reach it."""
        return tuple(dict.fromkeys(address for _, address in self.links))

    @property
    def timer(self) -> str:
        """Who undoes things in time: system, user (systemd), or shell."""
        if not (self.systemd and self.systemd_run) or self.plain:
            return "shell"
        return "system" if self.superuser else "user"


def parse(lines: Iterable[str], nonce: str) -> Means | None:
    """The answers; None where they are cut off."""
    said: dict[str, list[str]] = {}
    for line in lines:
        mark, _, rest = line.partition(" ")
        name, sign, value = rest.partition("=")
        if mark == nonce and sign:
            said.setdefault(name, []).append(value.strip())
    if "end" not in said:
        return None
    return _means({name: values[-1] for name, values in said.items()}, said.get("address", []))


def _means(said: Mapping[str, str], addresses: list[str]) -> Means:
    def text(name: str) -> str:
        return said.get(name, "")

    def yes(name: str) -> bool:
        return text(name) == "yes"

    client, port = _connection(text("ssh"))
    prefix = text("prefix")
    return Means(
        uid=int(text("uid")) if text("uid").isdigit() else -1,
        boot=text("boot"),
        prefix=prefix if prefix.startswith("/") else "",
        plain=text("plain").startswith("plain:"),
        loopback=bool(text("loopback")),
        systemd=yes("systemd"),
        systemd_run=yes("systemd_run"),
        container=yes("container"),
        nft=yes("nft"),
        tc=yes("tc"),
        netem=yes("netem"),
        docker=yes("docker"),
        client=client,
        ssh_port=port,
        links=tuple(filter(None, (_link(each) for each in addresses))),
        disk_mb=_disk_mb(text("disk")),
        clock=_number(text("clock")),
    )


def _connection(text: str) -> tuple[str, int]:
    """(the client's address, the server's port) of SSH_CONNECTION."""
    words = text.split()
    if len(words) != 4 or not words[3].isdigit():
        return "", 0
    return _address(words[0]), int(words[3])


def _address(text: str) -> str:
    """The form in which an address may stand in a rule; empty for what is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _link(text: str) -> tuple[str, str] | None:
    link, _, address = text.partition(" ")
    link = link.partition("@")[0]
    try:
        found = ip_interface(address.strip()).ip
    except ValueError:
        return None
    # A name that could be more than a name in a rule is none of ours to use.
    if not all(sign.isalnum() or sign in "-_." for sign in link) or link.startswith(INNER):
        return None
    return (link, str(found))


def _disk_mb(text: str) -> float:
    words = text.split()
    if len(words) != 4 or not all(word.isdigit() for word in words):
        return 0.0
    return int(words[0]) * int(words[1]) / 2**20


def _number(text: str) -> float:
    try:
        return float(text.removesuffix(".%N").removesuffix(".N"))
    except ValueError:
        return 0.0
