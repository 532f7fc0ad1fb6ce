"""What the rule set of one node shall hold, given its tables and what it sees itself. Pure.

Belongs here: which instances take new flows here, which ones may keep theirs, and that a node takes
away by itself only what it cannot reach. Does not belong here: the form of elements (`elements`),
how the nearest is chosen (`ranking`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.overlay.addressing import gateway_of
from oakctl.overlay.kernel import elements, ranking
from oakctl.overlay.kernel.cables import interface
from oakctl.overlay.kernel.elements import Elements
from oakctl.overlay.kernel.ruleset import Networks

# Addresses are asked about again with every change of any table; no node has more of them.
CACHED = 1 << 15


@dataclass(frozen=True)
class Place:
    """Which node this is."""

    worker: str
    cluster: str
    networks: Networks


@dataclass(frozen=True)
class Sight:
    """What the node knows of itself, and of others by its own measure."""

    local: frozenset[str] = frozenset()  # addresses of instances that have their interface
    unreachable: frozenset[str] = frozenset()  # nodes that do not answer, by their own address
    round_trips_ms: Mapping[str, float] = field(default_factory=dict)  # likewise
    chosen: Mapping[str, str] = field(default_factory=dict)  # closest address → instance in force


@dataclass(frozen=True)
class Leads:
    """Where flows to one service address may lead: those there are, not just new ones."""

    tcp: frozenset[str] = frozenset()
    udp: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Wanted:
    """The rule set's elements, and what flows have to agree with."""

    elements: Elements = Elements()
    leads: Mapping[str, Leads] = field(default_factory=dict)  # by service address
    chosen: Mapping[str, str] = field(default_factory=dict)  # for the next `Sight`


def wanted(place: Place, tables: Iterable[ServiceTable], sight: Sight) -> Wanted:
    """All that follows from `tables`, one for each service.

    Of two services that claim one address the first by name has it. Addresses that are outside
    the overlay's networks lead nowhere: nothing of them gets into a command.
    """
    slots: dict[str, str] = {}
    one: dict[str, str] = {}
    hold: dict[str, str] = {}
    ports: dict[str, str] = {}
    leads: dict[str, Leads] = {}
    chosen: dict[str, str] = {}
    for table in sorted(tables, key=lambda each: each.job_name):
        there = _reachable(place, table, sight)
        takes_new = [target for target in there if target.ready and not target.draining]
        stays = frozenset(target.address for target in there)
        for address, nearest in _addresses(place, table, takes_new, sight):
            if address in leads:
                continue
            targets = [target.address for target in takes_new]
            udp = stays
            if nearest is not None:
                targets = [nearest] if nearest else []
                udp = frozenset(targets) or stays
                chosen[address] = nearest
            leads[address] = Leads(stays, udp)
            more, single = elements.service(address, tuple(targets))
            slots |= more
            one |= single
            if not targets and table.expected > 0:
                hold[address] = ""
        for key, value in _published(place, table, takes_new):
            ports.setdefault(key, value)
    hairpin, sources = _own(sight.local)
    return Wanted(Elements(slots, one, hold, hairpin, sources, ports), leads, chosen)


def _addresses(
    place: Place, table: ServiceTable, takes_new: Sequence[TableTarget], sight: Sight
) -> Iterable[tuple[str, str | None]]:
    """The service's addresses, each with the one instance it leads to; None: to all in turn."""
    given = table.addresses
    if is_within(given.rr_ip, place.networks.services):
        yield given.rr_ip, None
    if is_within(given.closest_ip, place.networks.services):
        before = sight.chosen.get(given.closest_ip, "")
        yield (
            given.closest_ip,
            ranking.closest(takes_new, place.worker, place.cluster, sight.round_trips_ms, before),
        )


def _reachable(place: Place, table: ServiceTable, sight: Sight) -> list[TableTarget]:
    """The targets that this node may lead flows to.

    One of its own is gone without its interface. Others that do not answer are left out while there
    is one that does: when all seem dead, it is more likely this node that is cut off.
    """
    there = []
    for target in sorted(table.targets, key=lambda each: (each.cluster, each.number)):
        here = target.worker == place.worker and target.cluster in ("", place.cluster)
        if is_within(target.address, place.networks.nodes) and (
            not here or target.address in sight.local
        ):
            there.append(target)
    answering = [t for t in there if gateway_of(t.address) not in sight.unreachable]
    return answering if any(t.ready and not t.draining for t in answering) else there


def neighbours(place: Place, tables: Iterable[ServiceTable]) -> frozenset[str]:
    """The own addresses of the other nodes that flows from here may lead to."""
    instances = (target.address for table in tables for target in table.targets)
    there = {gateway_of(each) for each in instances if is_within(each, place.networks.nodes)}
    return frozenset(there - {place.networks.gateway})


def _published(
    place: Place, table: ServiceTable, takes_new: Iterable[TableTarget]
) -> Iterable[tuple[str, str]]:
    here = [target.address for target in takes_new if target.worker == place.worker]
    subnet = place.networks.subnet
    for port in table.ports:
        for address in here:
            if port.host and port.protocol in ("tcp", "udp") and is_within(address, subnet):
                yield f"{port.protocol} . {int(port.host)}", f"{address} . {int(port.container)}"


def _own(local: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    in_order = sorted(local)
    hairpin = {f"{address} . {address}": "" for address in in_order}
    sources = {f'"{interface(address)}" . {address}': "" for address in in_order}
    return hairpin, sources


@lru_cache(CACHED)
def is_within(address: str, network: str) -> bool:
    """Whether this is an address of the network, written as such."""
    try:
        return IPv4Address(address) in IPv4Network(network)
    except AddressValueError:
        return False
