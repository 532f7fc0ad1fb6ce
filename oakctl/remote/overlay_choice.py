"""Which overlay a worker's host gets, `kernel` or `host`, and why in words. Pure.

From the facts alone first, so that it can be told before anything is done; then from what the host
itself says when its own tools are asked to make the rules and the tunnel where nobody sees it.
Does not belong here: asking (`overlay_host`), installing what is missing (`playbooks/overlay.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from oakctl.overlay.networks import NODE_NETWORK, SERVICE_NETWORK
from oakctl.remote import wireguard
from oakctl.remote.equipment import Network
from oakctl.remote.facts import HostFacts
from oakctl.remote.residence import Homeless, Residence

KERNEL, HOST, LOOPBACK = "kernel", "host", "loopback"
ASKED = ("", KERNEL, HOST)  # what an operator may ask for; empty: what the host can
NETWORKS = (NODE_NETWORK, SERVICE_NETWORK)
# Programs that the overlay runs on → the packages they come with. All are in Debian's main.
PROGRAMS = {"nft": "nftables", "ip": "iproute2", "ss": "iproute2", "wg": wireguard.TOOLS}
LONGEST = 160  # characters of a program's own words


@dataclass(frozen=True)
class Overlay:
    """A driver, and the reason for it."""

    driver: str
    reason: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.driver, self.reason)))


@dataclass(frozen=True)
class Found:
    """What a host answered when it was tried: see `overlay_host.PROBE`."""

    lacks: tuple[str, ...] = ()  # programs that are not there
    rules: str = ""  # why its nftables does not take our rules; empty: it does
    in_kernel: bool = False  # WireGuard
    program: str = ""  # wireguard-go's version; empty: it is not there
    tun: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """What is missing and can be installed, but for wireguard-go."""
        return tuple(sorted({PROGRAMS[each] for each in self.lacks}))

    @property
    def needs_program(self) -> bool:
        """Whether a program has to do what the kernel cannot."""
        return not self.in_kernel and self.tun and not self.program


@dataclass(frozen=True)
class Wanted:
    """What is to be installed, by the release it is taken from (empty: the host's own); or why
    that is not possible. `is_final`: reading the package sources anew would not change that."""

    names: tuple[tuple[str, str], ...] = ()  # (package, release)
    problem: str = ""
    is_final: bool = False


def by_facts(facts: HostFacts, home: Residence | Homeless, asked: str = "") -> Overlay:
    """What the host gets as far as its facts say; `kernel` may still turn out not to work."""
    if facts.environment.get("OAKCTL_LOOPBACK_NUMBER", "").isdigit():
        return Overlay(LOOPBACK)
    if asked == HOST:
        return Overlay(HOST, "asked for")
    hindrance = next(_hindrances(facts, home), "")
    return Overlay(HOST, hindrance) if hindrance else Overlay(KERNEL, _way(facts.network))


def by_probe(found: Found) -> Overlay:
    """What the host gets, now that its own tools were tried."""
    if found.lacks:
        return Overlay(HOST, f"{', '.join(found.packages)} not installed")
    if found.rules:
        return Overlay(HOST, f"its nftables does not take the rules: {found.rules}")
    if found.in_kernel:
        return Overlay(KERNEL, "WireGuard by the kernel")
    if not found.tun:
        return Overlay(HOST, "the kernel has no WireGuard, and no /dev/net/tun for a program")
    if not found.program:
        return Overlay(HOST, f"the kernel has no WireGuard, and {wireguard.PROGRAM} is not there")
    slow = "" if wireguard.is_good(found.program) else ", a sixth of the speed of newer ones"
    return Overlay(KERNEL, f"WireGuard by {wireguard.PROGRAM} {found.program}{slow}")


def is_light(facts: HostFacts) -> bool:
    """Whether it is a lab's light host, whose user is root of its network.

    Its programs are this machine's own: nothing is installed by way of it.
    """
    return facts.environment.get("OAKCTL_OVERLAY", "") == KERNEL


def overlapping(routes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Routes ("10.30.5.0/24 eth1") that lead into one of the overlay's networks, with that."""
    for route in routes:
        text = route.partition(" ")[0]
        try:
            there = IPv4Network(text, strict=False)
        except ValueError:
            continue
        for network in NETWORKS:
            if there.prefixlen and there.overlaps(IPv4Network(network)):
                yield route, network


def _hindrances(facts: HostFacts, home: Residence | Homeless) -> Iterator[str]:
    if isinstance(home, Homeless) or not (home.as_root or is_light(facts)):
        yield "it needs the superuser"
    for route, network in overlapping(facts.network.routes):
        where, _, device = route.partition(" ")
        yield f"{network} is the overlay's, and {where} leads to {device or 'somewhere'} there"
    if facts.network.nftables == "does not work":
        yield "nft does not work with this kernel"
    if facts.network.wireguard == "missing" and not facts.network.tun:
        yield "the kernel has no WireGuard, and there is no /dev/net/tun for a program"


def _way(network: Network) -> str:
    if network.wireguard == "kernel":
        return "WireGuard by the kernel"
    if network.wireguard == "missing":
        return f"WireGuard by {wireguard.PROGRAM}"
    return "WireGuard by the kernel or a program"


def read(answer: str) -> Found:
    """What the probe printed, which is a stranger's text."""
    lacks: list[str] = []
    said: dict[str, str] = {}
    for line in answer.splitlines():
        key, _, value = line.partition(" ")
        if key == "lacks" and value in PROGRAMS:
            lacks.append(value)
        else:
            said.setdefault(key, "".join(c if c.isprintable() else " " for c in value).strip())
    rules = said.get("rules", "")
    program = re.sub(r"[^\w.+~:-]", "", said.get("program", "")) if "program" in said else ""
    return Found(
        tuple(lacks),
        " ".join(rules.split())[:LONGEST],
        "kernel" in said,
        (program or "of an unknown version") if "program" in said else "",
        "tun" in said,
    )
