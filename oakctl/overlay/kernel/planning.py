"""What the rule set of one node shall hold, given its tables and what it sees itself. Pure.

Belongs here: which instances take new flows here, which ones may keep theirs, and that a node takes
away by itself only what it cannot reach. All of one service at a time: what follows from all of
them together is in `ledger`. Does not belong here: the form of elements (`elements`), who has which
share (`places`), how the nearest is chosen (`ranking`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.service import BY_CLIENT
from oakctl.overlay.addressing import gateway_of
from oakctl.overlay.kernel import ranking
from oakctl.overlay.kernel.places import Places, shared
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
    down: frozenset[str] = frozenset()  # those of them with nothing that runs
    unreachable: frozenset[str] = frozenset()  # nodes that do not answer, by their own address
    round_trips_ms: Mapping[str, float] = field(default_factory=dict)  # likewise


@dataclass(frozen=True)
class Leads:
    """Where flows to one service address may lead: those there are, not just new ones."""

    tcp: frozenset[str] = frozenset()
    udp: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Way:
    """Where one service address leads: the instances of its places, and what flows may stay."""

    places: Places = ()
    leads: Leads = Leads()
    waits: bool = False  # for an instance: there is none, and one is to be
    by_client: bool = False


@dataclass(frozen=True)
class Page:
    """All that follows from one table. `nodes` are those whose state it depends on."""

    ways: Mapping[str, Way] = field(default_factory=dict)  # by service address
    ports: Mapping[str, str] = field(default_factory=dict)  # as of `Elements`
    nodes: frozenset[str] = frozenset()  # by their own address, this one may be among them


def page(place: Place, table: ServiceTable, sight: Sight, before: Page) -> Page:
    """What follows from a service's table; `before` is what did: as little changes as has to.

    Addresses that are outside the overlay's networks lead nowhere: nothing of them gets into a
    command.
    """
    there = _reachable(place, table, sight)
    takes_new = [target for target in there if _takes_new(target, sight)]
    # What has ended may still have words under way: TCP is left to find its own end.
    stays = frozenset(target.address for target in there)
    lives = stays - sight.down
    ways: dict[str, Way] = {}
    given = table.addresses
    for address, weights in (
        (given.rr_ip, {target.address: target.weight for target in takes_new}),
        (given.least_ip, {target.address: target.spare for target in takes_new}),
    ):
        if address not in ways and is_within(address, place.networks.services):
            places = shared(weights, before.ways.get(address, Way()).places)
            waits = not places and table.expected > 0
            by_client = table.affinity == BY_CLIENT
            ways[address] = Way(places, Leads(stays, lives), waits, by_client)
    closest = given.closest_ip
    if closest not in ways and is_within(closest, place.networks.services):
        chosen = next(iter(before.ways.get(closest, Way()).places), "")
        trips = sight.round_trips_ms
        nearest = ranking.closest(takes_new, place.worker, place.cluster, trips, chosen)
        only = frozenset({nearest} if nearest else ())
        waits = not nearest and table.expected > 0
        ways[closest] = Way(shared(dict.fromkeys(only, 1)), Leads(stays, only or lives), waits)
    ports = dict(reversed(list(_published(place, table, takes_new))))
    return Page(ways, ports, _nodes(place, table))


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
    return answering if any(_takes_new(t, sight) for t in answering) else there


def _takes_new(target: TableTarget, sight: Sight) -> bool:
    return target.ready and not target.draining and target.address not in sight.down


def _nodes(place: Place, table: ServiceTable) -> frozenset[str]:
    addresses = (target.address for target in table.targets)
    return frozenset(gateway_of(a) for a in addresses if is_within(a, place.networks.nodes))


def _published(
    place: Place, table: ServiceTable, takes_new: Sequence[TableTarget]
) -> Iterable[tuple[str, str]]:
    here = [target.address for target in takes_new if target.worker == place.worker]
    subnet = place.networks.subnet
    for port in table.ports:
        for address in here:
            if port.host and port.protocol in ("tcp", "udp") and is_within(address, subnet):
                yield f"{port.protocol} . {int(port.host)}", f"{address} . {int(port.container)}"


@lru_cache(CACHED)
def is_within(address: str, network: str) -> bool:
    """Whether this is an address of the network, written as such."""
    try:
        return IPv4Address(address) in IPv4Network(network)
    except AddressValueError:
        return False
