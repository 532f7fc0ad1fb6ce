"""The root's decision: which clusters are offered an instance, in which order.

On aggregates only: a root does not know a cluster's machines, so it drops what cannot be and
leaves the rest to the cluster's own answer. Same form of filters as `filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from oakctl.model.messages import Aggregate, Verdict
from oakctl.model.service import Constraint, ServiceSpec
from oakctl.orchestration.scheduling import wording
from oakctl.orchestration.scheduling.policies import left_share

NOTHING: Mapping[str, int] = MappingProxyType({})
ALL_ANSWER: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Ranking:
    """Clusters to be offered the instance, best first; and what was found of each."""

    order: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()


def rank(
    spec: ServiceSpec,
    aggregates: Sequence[Aggregate],
    *,
    instances_of_service: Mapping[str, int] = NOTHING,
    unreachable: Mapping[str, str] = ALL_ANSWER,
) -> Ranking:
    """Rank clusters for one more instance of `spec`.

    The cluster with the largest share left free comes first; of those within one percent the
    one with the fewest instances of the service, then by name. `unreachable` maps clusters that
    cannot be asked now to the reason.
    """
    notes = wording.not_enforced(spec)
    fitting: list[tuple[float, int, Verdict]] = []
    excluded = [Verdict(name, False, reasons=(unreachable[name],)) for name in sorted(unreachable)]
    for aggregate in sorted(aggregates, key=lambda a: a.cluster):
        name = aggregate.cluster
        if name in unreachable:
            continue
        reasons = objections(spec, aggregate)
        if reasons:
            excluded.append(Verdict(name, False, reasons=reasons + notes))
            continue
        here = instances_of_service.get(name, 0)
        left = left_share(aggregate.capacity, aggregate.free - spec.requests)
        score = float(round(100 * left))
        why = f"{score:g} % would be left free, {here} instances of the service are here"
        fitting.append((score, here, Verdict(name, True, score, (why, *notes))))
    fitting.sort(key=lambda found: (-found[0], found[1]))
    ordered = tuple(verdict for _, _, verdict in fitting)
    return Ranking(tuple(v.candidate for v in ordered), ordered + tuple(excluded))


ClusterFilter = Callable[[ServiceSpec, Aggregate], str]


def workers(_spec: ServiceSpec, aggregate: Aggregate) -> str:
    """There has to be a worker that takes instances."""
    return "" if aggregate.workers else "no worker is ready"


def runtime(spec: ServiceSpec, aggregate: Aggregate) -> str:
    """Some worker needs a runtime for the service's virtualization."""
    if not aggregate.workers or spec.virtualization in aggregate.runtimes:
        return ""
    offered = wording.listed(aggregate.runtimes)
    return f"virtualization {spec.virtualization} is not among {offered}"


def architecture(spec: ServiceSpec, aggregate: Aggregate) -> str:
    """Some worker needs a CPU that the service's code runs on."""
    offered = {slot.architecture for slot in aggregate.largest_free}
    if not offered or not spec.architectures or not offered.isdisjoint(spec.architectures):
        return ""
    wanted = wording.listed(spec.architectures)
    return f"architecture {wanted} is not among {wording.listed(offered)}"


def capacity(spec: ServiceSpec, aggregate: Aggregate) -> str:
    """Some one worker has to have room for all that is asked: a sum over workers is no room."""
    slots = [
        slot.free
        for slot in aggregate.largest_free
        if not spec.architectures or slot.architecture in spec.architectures
    ]
    short = [spec.requests.shortfalls(free) for free in slots]
    if not short or not all(short):
        return ""
    # The slot that lacks the fewest things says best what stands in the way.
    lacking = min(short, key=lambda missing: (len(missing), sorted(missing)))
    texts = []
    for field, (asked, _) in lacking.items():
        most = max(getattr(free, field) for free in slots)
        unit, total = wording.UNITS[field], getattr(aggregate.free, field)
        text = f"asks for {wording.amount(asked)} {unit}, "
        if most >= asked:
            text += f"no worker has these and all else free ({wording.amount(most)} at most)"
        else:
            text += f"at most {wording.amount(most)} free on one worker"
        if total > most:
            text += f" ({wording.amount(total)} in all)"
        texts.append(text)
    return "; ".join(texts)


def named(spec: ServiceSpec, aggregate: Aggregate) -> str:
    """`direct` and `clusters` name clusters, workers, or both."""
    for constraint in spec.constraints:
        if constraint.kind not in ("direct", "clusters"):
            continue
        if constraint.clusters and aggregate.cluster not in constraint.clusters:
            allowed = wording.listed(constraint.clusters)
            return f"not among {allowed} ({constraint.kind} constraint)"
        if (
            constraint.kind == "direct"
            and constraint.nodes
            and not _has_node(aggregate, constraint)
        ):
            nodes = wording.listed(constraint.nodes)
            return f"none of the workers of the direct constraint is ready here ({nodes})"
    return ""


def geo(spec: ServiceSpec, aggregate: Aggregate) -> str:
    """The cluster's area has to reach into the radius of every `geo` constraint."""
    for constraint in spec.constraints:
        if constraint.kind != "geo" or constraint.location is None:
            continue
        if aggregate.location is None:
            return "location not known"
        away = aggregate.location.distance_km(constraint.location) - aggregate.area_km
        if away > constraint.threshold:
            limit = wording.amount(constraint.threshold)
            return f"its nearest point is {away:.1f} km away, at most {limit} km allowed"
    return ""


FILTERS: tuple[ClusterFilter, ...] = (workers, runtime, architecture, capacity, named, geo)


def objections(spec: ServiceSpec, aggregate: Aggregate) -> tuple[str, ...]:
    """Every reason against this cluster; empty: it is worth an offer."""
    reasons = (check(spec, aggregate) for check in FILTERS)
    return tuple(reason for reason in reasons if reason)


def _has_node(aggregate: Aggregate, constraint: Constraint) -> bool:
    wanted = set(constraint.nodes)
    return any(
        name in wanted or f"{aggregate.cluster}/{name}" in wanted for name in aggregate.worker_names
    )
