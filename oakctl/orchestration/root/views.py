"""What is stored and what clusters say, put together for those who look. Pure.

Belongs here: the state and the reason that are shown. Does not belong here: reading the store
or asking clusters (`root.root`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oakctl.model.instance import InstanceState, InstanceStatistics
from oakctl.model.messages import ClusterState, InstancePlace
from oakctl.model.service import instance_name
from oakctl.model.views import (
    ApplicationView,
    ClusterView,
    InstanceView,
    ServiceView,
    WorkerView,
)
from oakctl.orchestration.root.delegation import Key, Phase, Row
from oakctl.orchestration.root.peering import links_of
from oakctl.orchestration.root.store.fleet import ClusterRow, WorkerRow
from oakctl.orchestration.root.store.wanted import ApplicationRow, ServiceRow
from oakctl.overlay.addressing import CLUSTERS, cluster_block


@dataclass(frozen=True)
class Heard:
    """What a cluster's link knows. `reason` says why it is not reachable."""

    reachable: bool
    reason: str
    last_seen: float
    state: ClusterState | None = None
    statistics: Mapping[Key, InstanceStatistics] = field(default_factory=dict)


NOTHING_HEARD = Heard(False, "its bootstrap is not complete", 0.0)


@dataclass(frozen=True)
class Scene:
    """Everything that views are made of, from one moment."""

    applications: Sequence[ApplicationRow]
    services: Sequence[ServiceRow]
    rows: Sequence[Row]
    clusters: Sequence[ClusterRow]
    workers: Sequence[WorkerRow]
    heard: Mapping[str, Heard]
    why: Callable[[Key], str]  # what delegation does for an instance, or why it waits
    waits: Callable[[Key], bool]  # whether it waits
    replacing: Mapping[str, int] = field(default_factory=dict)  # of a service, still to be replaced
    halts: Mapping[str, str] = field(default_factory=dict)  # why that was given up

    def places(self) -> Mapping[tuple[str, str, int], InstancePlace]:
        """(cluster, job name, number) → what the cluster says of it."""
        return {
            (cluster, place.observed.job_name, place.observed.number): place
            for cluster, heard in self.heard.items()
            if heard.state is not None
            for place in heard.state.instances
        }


def instances(scene: Scene) -> Sequence[InstanceView]:
    """Every instance that is wanted or not gone yet."""
    places = scene.places()
    return [_instance(scene, row, places.get((row.cluster, *row.key))) for row in scene.rows]


def _instance(scene: Scene, row: Row, place: InstancePlace | None) -> InstanceView:
    heard = scene.heard.get(row.cluster, NOTHING_HEARD)
    view = InstanceView(
        name=instance_name(*row.key),
        job_name=row.job_name,
        number=row.number,
        epoch=row.epoch,
        state=_state(scene, row),
        ready=False,
        since=row.since,
        cluster=row.cluster,
        reason=scene.why(row.key),
    )
    if place is not None and row.phase in (Phase.PLACED, Phase.WITHDRAWING):
        view = _observed(view, place, heard.statistics.get(row.key))
        if row.phase is Phase.WITHDRAWING:
            view = replace(view, state=InstanceState.STOPPING, ready=False)
    if row.cluster and not heard.reachable:
        gone = f"cluster {row.cluster} is unreachable: {heard.reason}"
        view = replace(view, reason=f"{view.reason}; {gone}" if view.reason else gone)
    return view


def _state(scene: Scene, row: Row) -> InstanceState:
    if row.phase is Phase.WITHDRAWING:
        return InstanceState.STOPPING
    if row.phase is Phase.PLACED:
        return InstanceState.CLUSTER_SCHEDULED
    tried = row.phase is Phase.OFFERED or bool(scene.why(row.key))
    return InstanceState.REQUESTED if tried else InstanceState.REGISTERED


def _observed(
    view: InstanceView, place: InstancePlace, statistics: InstanceStatistics | None
) -> InstanceView:
    seen = place.observed
    use = statistics or InstanceStatistics(seen.job_name, seen.number, 0.0)
    return replace(
        view,
        state=seen.state,
        ready=seen.ready,
        since=seen.since,
        worker=place.worker,
        address=seen.address,
        bind=seen.bind,
        pid=seen.pid,
        restarts=seen.restarts,
        crash_looping=seen.crash_looping,
        exit_code=seen.exit_code,
        reason=seen.reason,
        limits=seen.limits,
        cpu_percent=use.cpu_percent,
        memory_mb=use.memory_mb,
        metrics=use.metrics,
        metrics_at=use.at,
    )


def services(scene: Scene) -> Sequence[ServiceView]:
    """Every service, with the state that follows from its instances."""
    by_job: dict[str, list[InstanceView]] = {}
    for view in instances(scene):
        by_job.setdefault(view.job_name, []).append(view)
    deleting = {row.name for row in scene.applications if row.deleting}
    return [
        _service(scene, row, by_job.get(row.spec.job_name, []), row.spec.application in deleting)
        for row in scene.services
    ]


def _service(
    scene: Scene, row: ServiceRow, views: Sequence[InstanceView], deleting: bool
) -> ServiceView:
    spec = row.spec
    running = [v for v in views if v.state is InstanceState.RUNNING]
    ready = [v for v in running if v.ready]
    state, reason = _summary(scene, row, views)
    if deleting:
        state, reason = "stopped", _stopping(views)
    left = scene.replacing.get(spec.job_name, 0)
    if state == "ready" and left:
        reason = f"{left} still to be replaced, one after the other"
        state = "starting"
    halted = scene.halts.get(spec.job_name, "")
    return ServiceView(
        job_name=spec.job_name,
        application=spec.application,
        name=spec.name,
        wanted=row.wanted,
        ready=len(ready),
        running=len(running),
        state=state,
        reason=reason or halted,
        replacing=left,
        halted=halted,
        spec=spec,
        rr_ip=spec.addresses.rr_ip,
        closest_ip=spec.addresses.closest_ip,
        least_ip=spec.addresses.least_ip,
        ports=spec.all_ports(),
        requests=spec.requests,
    )


TROUBLE = (InstanceState.FAILED, InstanceState.LOST)
FINE = (InstanceState.RUNNING, InstanceState.COMPLETED)


def _summary(scene: Scene, row: ServiceRow, views: Sequence[InstanceView]) -> tuple[str, str]:
    unreachable = {name for name, heard in scene.heard.items() if not heard.reachable}
    live = [v for v in views if v.state is not InstanceState.STOPPING]
    if row.wanted == 0:
        return "stopped", _stopping(views)
    broken = [v for v in live if v.state in TROUBLE or v.crash_looping or v.cluster in unreachable]
    if broken:
        return "degraded", f"{broken[0].name}: {broken[0].reason or broken[0].state.value}"
    pending = [v for v in live if v.reason and _is_pending(scene, v)]
    if pending:
        return "pending", f"{pending[0].name}: {pending[0].reason}"
    fine = [v for v in live if v.state in FINE and (v.ready or v.state is InstanceState.COMPLETED)]
    if len(fine) >= row.wanted:
        return "ready", ""
    waiting = next((v for v in live if v.reason), None)
    return "starting", f"{waiting.name}: {waiting.reason}" if waiting else ""


def _is_pending(scene: Scene, view: InstanceView) -> bool:
    """Whether it waits for a place: at the root, or in a cluster none of whose workers fits."""
    if view.cluster:
        return view.state is InstanceState.CLUSTER_SCHEDULED and not view.worker
    return scene.waits((view.job_name, view.number))


def _stopping(views: Sequence[InstanceView]) -> str:
    if not views:
        return ""
    return f"{views[0].name}: {views[0].reason or views[0].state.value}"


ORDER = ("degraded", "pending", "starting", "ready", "stopped")


def applications(scene: Scene) -> Sequence[ApplicationView]:
    """Every application; its state is the worst of its services'."""
    by_application: dict[str, list[ServiceView]] = {}
    for view in services(scene):
        by_application.setdefault(view.application, []).append(view)
    return [
        ApplicationView(
            row.name,
            row.description,
            row.created_at,
            _worst(by_application.get(row.name, []), row.deleting),
            tuple(by_application.get(row.name, [])),
        )
        for row in scene.applications
    ]


def _worst(views: Sequence[ServiceView], deleting: bool) -> str:
    if deleting:
        return "deleting"
    states = [view.state for view in views]
    worst = next((state for state in ORDER if state in states), "ready")
    # ApplicationView knows no "stopped": all that is wanted of it is there.
    return "ready" if worst == "stopped" else worst


def clusters(scene: Scene) -> Sequence[ClusterView]:
    """Every cluster, with the age of its last word."""
    return [_cluster(scene, row) for row in scene.clusters]


def _cluster(scene: Scene, row: ClusterRow) -> ClusterView:
    heard = scene.heard.get(row.name, NOTHING_HEARD)
    status = row.state
    if row.state == "ready" and not heard.reachable:
        status = "unreachable"
    summaries = heard.state.workers if heard.state else ()
    said = {each.name: one.state for each in scene.clusters if (one := scene.heard.get(each.name))}
    return ClusterView(
        name=row.name,
        status=status,
        status_reason="" if heard.reachable else heard.reason,
        host=row.host,
        policy=row.policy,
        location=row.location,
        workers_ready=sum(worker.status == "ready" for worker in summaries),
        workers_total=sum(worker.cluster == row.name for worker in scene.workers),
        instances=sum(instance.cluster == row.name for instance in scene.rows),
        last_seen=heard.last_seen,
        # A cluster of another operator's may have those of one of ours, and then a number beyond.
        node_subnets=cluster_block(row.block) if row.block < CLUSTERS else "",
        aggregate=heard.state.aggregate if heard.state else None,
        processes=dict(heard.state.processes) if heard.state else {},
        release=heard.state.release if heard.state else "",
        links=links_of(row.name, said),
    )


def workers(scene: Scene) -> Sequence[WorkerView]:
    """Every worker."""
    return [_worker(scene, row) for row in scene.workers]


def _worker(scene: Scene, row: WorkerRow) -> WorkerView:
    state = scene.heard.get(row.cluster, NOTHING_HEARD).state
    found = state.workers if state else ()
    summary = next((worker for worker in found if worker.name == row.name), None)
    status = row.state
    if row.state == "ready":
        status = summary.status if summary is not None else "suspect"
    places = state.instances if state else ()
    return WorkerView(
        name=row.name,
        cluster=row.cluster,
        host=row.request.host,
        status=status,
        instances=sum(place.worker == row.name for place in places),
        summary=summary,
        asked=row.request,
    )
