"""Why the instances of a service are where they are, or are nowhere. Pure.

Belongs here: the words of the summary and the notes. Does not belong here: the verdicts, which
scheduling gave when it decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oakctl.model.messages import WorkerSummary
from oakctl.model.service import ServiceSpec
from oakctl.model.views import Decision, Explanation, InstanceView, ServiceView


def explain(
    service: ServiceView,
    instances: Sequence[InstanceView],
    decisions: Sequence[Decision],
    workers: Iterable[tuple[str, WorkerSummary]],
) -> Explanation:
    """`workers` are (cluster, worker) of everywhere."""
    used = {(view.cluster, view.worker) for view in instances if view.worker}
    hosts = [(cluster, found) for cluster, found in workers if (cluster, found.name) in used]
    return Explanation(
        service.job_name,
        _summary(service, instances),
        tuple(decisions),
        (*_not_enforced(service.spec), *_nodes(service.spec, hosts)),
    )


def _summary(service: ServiceView, instances: Sequence[InstanceView]) -> str:
    head = f"{service.ready} of {service.wanted} ready"
    placed = [f"{v.number}: {_where(v)}" for v in instances if v.cluster]
    pending = [f"{v.number}: {v.reason or 'waits'}" for v in instances if not v.cluster]
    parts = [head]
    if placed:
        parts.append("placed " + ", ".join(placed))
    if pending:
        parts.append("pending " + ", ".join(pending))
    return "; ".join(parts)


def _where(view: InstanceView) -> str:
    return f"{view.cluster}/{view.worker}" if view.worker else view.cluster


def _not_enforced(spec: ServiceSpec) -> Iterable[str]:
    return [f"accepted and not enforced: {field}" for field in spec.not_enforced]


def _nodes(spec: ServiceSpec, hosts: Sequence[tuple[str, WorkerSummary]]) -> Iterable[str]:
    for cluster, worker in hosts:
        facts, name = worker.facts, f"{cluster}/{worker.name}"
        if facts is None:
            continue
        if not facts.limits_enforced:
            yield f"{name}: limits not enforced ({facts.limits_reason or 'no cgroup'})"
        asked = [field for field in facts.declared if getattr(spec.requests, field, 0)]
        if asked:
            yield f"{name}: {', '.join(asked)} declared, not found on the machine"
