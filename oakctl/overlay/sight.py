"""What a node's overlay leads to, read from what is in force there. Pure.

Belongs here: from maps and listeners to `Lead`. Does not belong here: asking the node
(`orchestration.worker.overlay_desk`), what is wrong with it (the root's side).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from oakctl.model.documents import ServiceTable
from oakctl.model.overlay_asking import Lead, Reach
from oakctl.model.service import AUTOMATIC, ServiceAddresses
from oakctl.overlay.plan import CLOSEST, Listener, Target

if TYPE_CHECKING:  # agents with another overlay carry nothing of this one
    from oakctl.overlay.kernel.elements import Elements

_SUFFIX = "_ip"
NOBODY = Listener("", "", 0, "", "")


def addresses_of(given: ServiceAddresses) -> dict[str, str]:
    """Policy → address, of those that a service has: {"rr": "10.30.1.2"}."""
    found = {}
    for field in fields(given):
        value = getattr(given, field.name)
        if field.name.endswith(_SUFFIX) and value and value != AUTOMATIC:
            found[field.name.removesuffix(_SUFFIX)] = value
    return found


def leads_of_maps(tables: Iterable[ServiceTable], elements: Elements) -> tuple[Lead, ...]:
    """The kernel overlay's: what is in its maps."""
    places: dict[str, Counter[str]] = {}
    for key, instance in elements.slots.items():
        places.setdefault(key.partition(" . ")[0], Counter())[instance] += 1
    found = []
    for address, policy in _all_addresses(tables):
        shares: dict[str, float] = {}
        if address in elements.one:
            shares = {elements.one[address]: 1.0}
        elif address in places:
            total = sum(places[address].values())
            shares = {one: count / total for one, count in sorted(places[address].items())}
        holds, sticky = address in elements.hold, address in elements.sticky
        found.append(Lead(address, policy, shares, holds, sticky))
    return tuple(found)


def leads_of_listeners(
    tables: Iterable[ServiceTable], listeners: Iterable[Listener]
) -> tuple[Lead, ...]:
    """The loopback overlay's: what its relay was told. It passes over nodes it cannot reach."""
    by_address: dict[str, Listener] = {}
    for listener in listeners:
        by_address.setdefault(listener.address, listener)
    found = []
    for address, policy in _all_addresses(tables):
        told = by_address.get(address, NOBODY)
        takes = [each for each in told.targets if each.takes_new and each.number is not None]
        if policy == CLOSEST:
            takes = takes[:1]
        by_client = told.by_client
        found.append(Lead(address, policy, _shares(takes), by_client=by_client))
    return tuple(found)


def _shares(takes: Iterable[Target]) -> dict[str, float]:
    """Where no weight is more than 0 all count the same."""
    weights = {each.address: max(0, each.weight) for each in takes}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    total = sum(weights.values())
    return {address: weight / total for address, weight in weights.items() if weight}


def reach(unreachable: Iterable[str], round_trips_ms: Mapping[str, float]) -> tuple[Reach, ...]:
    """What was measured, by the nodes' own addresses."""
    away = frozenset(unreachable)
    return tuple(
        Reach(node, node not in away, round(round_trips_ms.get(node, -1.0), 3))
        for node in sorted(away | round_trips_ms.keys())
    )


def _all_addresses(tables: Iterable[ServiceTable]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for table in sorted(tables, key=lambda each: each.job_name):
        for policy, address in addresses_of(table.addresses).items():
            found.setdefault(address, policy)
    return list(found.items())
