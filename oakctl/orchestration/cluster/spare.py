"""What instances have to spare, by which their services' least loaded addresses share. Pure.

Belongs here: the load of an instance, made calm, and when another share is worth a new table. Does
not belong here: what nodes make of shares (`overlay`).
"""

from __future__ import annotations

from collections.abc import Mapping

from oakctl.orchestration.cluster.liveness import NOBODY, Presences
from oakctl.orchestration.cluster.state import Key, State

INTERVAL_S = 5.0
MOST = 10  # of an instance that has nothing to do; 0: of one that has no time
_WEIGHT = 0.5  # of a new measure
# A load has to be off by so much of a step for another share, or tables would change all the time.
_WORTH = 0.75


def loads(
    state: State,
    presences: Presences,
    cpu_percent: Mapping[Key, float],
    before: Mapping[Key, float],
) -> dict[Key, float]:
    """The load, 0 to 1, of each instance of a service that has such an address.

    It is that of its node, or what it takes of what it asked for, if that is more. `cpu_percent`
    is what instances used of one core.
    """
    found: dict[Key, float] = {}
    for job_name, service in state.services.items():
        if service.spec is None or not service.spec.addresses.least_ip:
            continue
        for record in state.of(job_name):
            node = presences.get(record.worker, NOBODY).usage.cpu_percent / 100
            asked = service.spec.requests.vcpus
            own = cpu_percent.get(record.key, 0.0) / 100 / asked if asked > 0 else 0.0
            now = min(1.0, max(0.0, node, own))
            known = before.get(record.key, now)
            found[record.key] = known + _WEIGHT * (now - known)
    return found


def shares(found: Mapping[Key, float], before: Mapping[Key, int]) -> dict[Key, int]:
    """The share of each: in steps of a tenth, and what it was while that is nearly so."""
    return {key: _share(load, before.get(key)) for key, load in found.items()}


def _share(load: float, before: int | None) -> int:
    exact = MOST * (1 - load)
    return round(exact) if before is None or abs(exact - before) > _WORTH else before
