"""Which instance is the closest, by measured round-trips. Pure.

Belongs here: the order of targets for one node, and when a better one is worth a change. Does not
belong here: measuring (`probes`), or what follows from a choice (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oakctl.model.documents import TableTarget
from oakctl.overlay.addressing import gateway_of

# A node nobody has measured yet is taken to be this far (milliseconds).
UNMEASURED_MS = 50.0
UNMEASURED_FOREIGN_MS = 200.0
# A change costs UDP flows their instance, so the better one has to be better by both.
WORTH_SHARE = 0.2
WORTH_MS = 1.0


def closest(
    targets: Sequence[TableTarget],
    worker: str,
    cluster: str,
    round_trips_ms: Mapping[str, float],
    chosen: str = "",
) -> str:
    """The address of the target that `worker` uses for `closest`; empty where there is none.

    `round_trips_ms` is by a node's own address. `chosen` is the address in force: it stays while no
    other is nearer by a fifth and a millisecond. Among equals the first of `targets` has it.
    """
    costs = {
        target.address: _cost(target, worker, cluster, round_trips_ms)
        for target in reversed(targets)
    }
    if not costs:
        return ""
    best = min((target.address for target in targets), key=costs.__getitem__)
    limit = max(costs[best] * (1 + WORTH_SHARE), costs[best] + WORTH_MS)
    return chosen if costs.get(chosen, float("inf")) <= limit else best


def _cost(
    target: TableTarget, worker: str, cluster: str, round_trips_ms: Mapping[str, float]
) -> float:
    if target.worker == worker and target.cluster in ("", cluster):
        return 0.0
    unmeasured = UNMEASURED_MS if target.cluster in ("", cluster) else UNMEASURED_FOREIGN_MS
    return round_trips_ms.get(gateway_of(target.address), unmeasured)
