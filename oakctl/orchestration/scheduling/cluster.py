"""The cluster's decision: which worker runs an instance.

filter → score → choose; the caller reserves. Never over capacity, the same input gives the same
worker, and if any candidate passes every filter one is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from oakctl.model.messages import Verdict
from oakctl.model.resources import Location
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.scheduling import filters, policies, wording
from oakctl.orchestration.scheduling.candidate import Candidate, Surroundings

__all__ = ["Candidate", "PlacementDecision", "decide"]

NOBODY: Mapping[str, tuple[Location, ...]] = MappingProxyType({})


@dataclass(frozen=True)
class PlacementDecision:
    """The worker, or None; and what was found of each candidate, the best first."""

    worker: str | None
    verdicts: tuple[Verdict, ...] = ()


def decide(
    spec: ServiceSpec,
    candidates: Sequence[Candidate],
    policy: str,
    *,
    cluster: str = "",
    peers: Mapping[str, tuple[Location, ...]] = NOBODY,
    unfit: frozenset[str] = frozenset(),
) -> PlacementDecision:
    """Choose a worker for one more instance of `spec`.

    `peers` says where instances of the services it talks to are, `unfit` for which platforms its
    image was not found. Raises NotFound for a policy
    that is not known here.
    """
    score = policies.named(policy)
    around = Surroundings(cluster=cluster, peers=peers, unfit=unfit)
    notes = wording.not_enforced(spec)
    fitting: list[tuple[tuple[float, ...], Verdict]] = []
    excluded: list[Verdict] = []
    for candidate in sorted(candidates, key=lambda c: c.name):
        reasons = filters.objections(spec, candidate, around)
        if reasons:
            excluded.append(Verdict(candidate.name, fits=False, reasons=reasons + notes))
            continue
        found = score(spec, candidate)
        worth = Verdict(candidate.name, True, found.parts[0], found.reasons + notes)
        fitting.append((found.parts, worth))
    # Sorting is stable: candidates of equal score stay in the order of their names.
    fitting.sort(key=lambda pair: pair[0], reverse=True)
    ordered = tuple(verdict for _, verdict in fitting)
    worker = ordered[0].candidate if ordered else None
    return PlacementDecision(worker, ordered + tuple(excluded))
