"""Clusters and workers come and change: what is checked, stored and done on hosts, in which order.

Belongs here: the operations that make a host what is asked for; each carries on where an earlier
run stopped. Does not belong here: how they go (`root.removal`), single steps on a host
(`oakctl.remote`), running operations (`root.operations`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import fields, replace

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.model import subjects
from oakctl.model.messages import Enrolment, WorkerChange
from oakctl.model.requests import ClusterCreate, PlaybookRun, WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root import credentials, names
from oakctl.orchestration.root.bell import Bell, until
from oakctl.orchestration.root.clusters import Clusters
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.links import Link, summary
from oakctl.orchestration.root.operations import Operations, Progress
from oakctl.orchestration.root.store import events, fleet
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.scheduling import policies
from oakctl.overlay import addressing
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs

log = logging.getLogger("oakctl.root.bootstrap")

READY_TIMEOUT_S = 60.0
CHANGE = "fleet apply"  # the kind of an operation that may change what there is


class Bootstrap:
    """The commands that make machines into clusters and workers."""

    def __init__(
        self,
        store: Store,
        clusters: Clusters,
        operations: Operations,
        installer: Installer,
        bell: Bell,
    ) -> None:
        self._store = store
        self._clusters = clusters
        self._operations = operations
        self._installer = installer
        self._bell = bell

    # --- clusters ---

    async def create_cluster(self, request: ClusterCreate) -> OperationView:
        """Make a host the orchestrator of a new cluster, or carry on with that."""
        return await self._cluster(request, change=False)

    async def put_cluster(self, request: ClusterCreate) -> OperationView:
        """As `create_cluster`; a cluster that exists on this host is changed to this request.

        What is stored of it changes when its host has: an interrupted change is seen as one.
        """
        return await self._cluster(request, change=True)

    async def _cluster(self, request: ClusterCreate, *, change: bool) -> OperationView:
        names.check(request.name, "cluster")
        policies.named(request.policy)

        fresh = False

        def prepare(db: Database) -> None:
            nonlocal fresh
            fresh = fleet.cluster(db, request.name) is None
            if not (change and _is_ready_cluster(db, request)):
                fleet.put_cluster(db, _new_cluster(db, request, time.time()))

        async def work(progress: Progress) -> None:
            row, host = await self._store.run(lambda db: fleet.cluster_and_host(db, request.name))
            wanted = replace(row, policy=request.policy, location=request.location)
            try:
                await self._install_cluster(wanted, host, request.accept_new, progress)
            except OakError:
                if fresh and not progress.touched:  # a host never reached does not hold the name
                    credentials.forget_cluster(request.name)
                    await self._store.run(lambda db: fleet.forget_cluster(db, request.name))
                raise

        kind = CHANGE if change else "cluster create"
        subject = f"cluster {request.name}"
        return await self._operations.start(kind, subject, prepare, work, _asked(request))

    async def _install_cluster(
        self, row: fleet.ClusterRow, host: HostView, accept_new: bool, progress: Progress
    ) -> None:
        _, secret = credentials.root_secret(row.name)
        inputs = ClusterInputs(
            cluster=row.name,
            policy=row.policy,
            location=row.location,
            node_subnets=addressing.cluster_block(row.block),
            root_secret=secret,
        )

        def install() -> ClusterAccess:
            return self._installer.cluster(
                host, accept_new, inputs, progress.report, progress.cancelled
            )

        access = await progress.in_thread(install)
        link = self._clusters.links.get(row.name)
        # A link that is up and goes the same way needs no new tunnel.
        if link is None or not link.reachable or credentials.access(row.name) != access:
            credentials.save_access(row.name, access)
            await self._clusters.open(row.name, host, access)
        await progress.step(host.name, "orchestrator: answers", self._until_reachable(row.name))

        def ready(db: Database) -> None:
            fleet.put_cluster(db, replace(row, state="ready"))
            kind, message = "cluster.created", f"host {host.name} orchestrates it"
            if row.state == "ready":
                kind, message = "cluster.changed", f"its policy is {row.policy}"
            events.append(db, time.time(), kind, row.name, message)

        await self._store.run(ready)

    async def _until_reachable(self, name: str) -> None:
        def state() -> str | None:
            link = self._clusters.links.get(name)
            if link is None:
                return "its link was closed"
            return None if link.reachable else link.reason

        await until(self._bell, f"cluster {name} to answer", state, READY_TIMEOUT_S)

    # --- workers ---

    async def add_worker(self, request: WorkerAdd) -> OperationView:
        """Make a host a worker of a cluster, or carry on with that."""
        return await self._worker(request, change=False)

    async def put_worker(self, request: WorkerAdd) -> OperationView:
        """As `add_worker`; a worker that exists on this host is changed to this request.

        Its agent is restarted when its configuration changed; its instances stay.
        """
        return await self._worker(request, change=True)

    async def _worker(self, request: WorkerAdd, *, change: bool) -> OperationView:
        bus_server.check_worker_name(names.check(request.name, "worker"))
        _check_declared(request.declared)

        fresh = False

        def prepare(db: Database) -> None:
            nonlocal fresh
            fresh = fleet.worker(db, request.cluster, request.name) is None
            if not (change and _is_ready_worker(db, request)):
                fleet.put_worker(db, _new_worker(db, request))

        async def work(progress: Progress) -> None:
            row, host = await self._store.run(
                lambda db: fleet.worker_and_host(db, request.cluster, request.name)
            )
            try:
                await self._install_worker(request, host, progress, known=row.state == "ready")
            except OakError:
                if fresh and not progress.touched:
                    await self._unlearn_worker(request)
                raise

        kind = CHANGE if change else "worker add"
        subject = f"worker {request.cluster}/{request.name}"
        return await self._operations.start(kind, subject, prepare, work, _asked(request))

    async def _unlearn_worker(self, request: WorkerAdd) -> None:
        """A worker whose host was never reached holds neither its name nor a credential."""
        cluster, name = request.cluster, request.name
        try:
            order = WorkerChange(name, remove=True)
            await self._clusters.link(cluster).order(subjects.CTL_WORKER, order)
        except OakError as error:
            log.warning("worker %s/%s stays half made: %s", cluster, name, error.message)
            return
        credentials.forget_worker(cluster, name)
        await self._store.run(lambda db: fleet.forget_worker(db, cluster, name))

    async def _install_worker(
        self, request: WorkerAdd, host: HostView, progress: Progress, *, known: bool
    ) -> None:
        link = self._clusters.link(request.cluster)
        access = credentials.access(request.cluster)
        if access is None:
            raise NotFound(
                f"cluster {request.cluster} is not complete",
                hint=f"oakctl cluster create {request.cluster} --on HOST",
            )
        secret = credentials.worker_secret(request.cluster, request.name)
        enrolment = Enrolment(request.name, await progress.in_thread(lambda: _hash(secret)))
        await progress.step(host.name, "bus: credential", link.order(subjects.CTL_ENROL, enrolment))
        inputs = worker_inputs(request, secret, access)
        await progress.in_thread(
            lambda: self._installer.worker(
                host, request.accept_new, inputs, progress.report, progress.cancelled
            )
        )
        await progress.step(host.name, "agent: ready", self._until_ready(link, request.name))

        def ready(db: Database) -> None:
            fleet.put_worker(db, fleet.WorkerRow(request, "ready"))
            kind = "worker.changed" if known else "worker.added"
            events.append(
                db,
                time.time(),
                kind,
                f"{request.cluster}/{request.name}",
                f"on host {host.name}",
                cluster=request.cluster,
            )

        await self._store.run(ready)

    async def _until_ready(self, link: Link, worker: str) -> None:
        def state() -> str | None:
            found = summary(link, worker)
            if found is None:
                return "the cluster has not heard of it" if link.reachable else link.reason
            return None if found.status == "ready" else f"it is {found.status}"

        what = f"worker {link.name}/{worker} to be ready"
        await until(self._bell, what, state, READY_TIMEOUT_S)

    # --- playbooks ---

    async def run_playbook(self, request: PlaybookRun) -> OperationView:
        """Run one playbook, ours or the user's own, on a host."""
        host = await self._store.run(lambda db: fleet.known_host(db, request.host))

        async def work(progress: Progress) -> None:
            await progress.in_thread(
                lambda: self._installer.playbook(host, request, progress.report, progress.cancelled)
            )

        subject = f"{request.name} on host {request.host}"
        return await self._operations.start("playbook run", subject, lambda db: None, work, request)


def worker_inputs(request: WorkerAdd, secret: str, access: ClusterAccess) -> WorkerInputs:
    """What a host is given to be this worker."""
    return WorkerInputs(
        worker=request.name,
        cluster=request.cluster,
        secret=secret,
        bus_address=access.bus_address,
        bus_port=access.bus_port,
        ca_pem=access.ca_pem,
        contribution=request.contribution,
        declared=request.declared,
        location=request.location,
        labels=request.labels,
        docker=request.docker,
        allow_reboot=request.allow_reboot,
    )


def _hash(secret: str) -> str:
    return credentials.hashed(secret)


def _is_ready_cluster(db: Database, request: ClusterCreate) -> bool:
    known = fleet.cluster(db, request.name)
    return known is not None and (known.state, known.host) == ("ready", request.host)


def _is_ready_worker(db: Database, request: WorkerAdd) -> bool:
    known = fleet.worker(db, request.cluster, request.name)
    return known is not None and (known.state, known.request.host) == ("ready", request.host)


def _new_cluster(db: Database, request: ClusterCreate, now: float) -> fleet.ClusterRow:
    fleet.known_host(db, request.host)
    known = fleet.cluster(db, request.name)
    if known is not None:
        if known.state == "creating" and known.host == request.host:
            return replace(known, policy=request.policy, location=request.location)
        raise Conflict(
            f"there is a cluster {request.name} already ({known.state}, on host {known.host})",
            hint=f"choose another name, or: oakctl cluster remove {request.name}",
        )
    other = next((row for row in fleet.clusters(db) if row.host == request.host), None)
    if other is not None:
        raise Conflict(
            f"host {request.host} is the orchestrator of {other.name}", hint="oakctl host ls"
        )
    block = fleet.lowest_free_block(db)
    addressing.cluster_block(block)
    return fleet.ClusterRow(
        request.name, request.host, request.policy, request.location, block, "creating", now
    )


def _new_worker(db: Database, request: WorkerAdd) -> fleet.WorkerRow:
    fleet.known_host(db, request.host)
    cluster = fleet.cluster(db, request.cluster)
    if cluster is None:
        raise NotFound(f"there is no cluster {request.cluster!r}", hint="oakctl cluster ls")
    if cluster.state != "ready":
        raise Conflict(
            f"cluster {request.cluster} is {cluster.state}",
            hint=f"oakctl cluster create {request.cluster} --on {cluster.host}",
        )
    known = fleet.worker(db, request.cluster, request.name)
    if known is not None:
        if known.state == "joining" and known.request.host == request.host:
            return fleet.WorkerRow(request, "joining")
        raise Conflict(
            f"there is a worker {request.cluster}/{request.name} already ({known.state})",
            hint=f"choose another name, or: oakctl worker remove {request.cluster}/{request.name}",
        )
    other = next((row for row in fleet.workers(db) if row.request.host == request.host), None)
    if other is not None:
        raise Conflict(
            f"host {request.host} is worker {other.cluster}/{other.name}", hint="oakctl host ls"
        )
    return fleet.WorkerRow(request, "joining")


def _asked(request: ClusterCreate | WorkerAdd) -> ClusterCreate | WorkerAdd:
    """What is asked for; whether a new key may be believed makes no other work of it."""
    return replace(request, accept_new=False)


def _check_declared(declared: Sequence[str]) -> None:
    known = [field.name for field in fields(Resources)]
    for name in declared:
        if name not in known:
            raise UsageError(
                f"{name!r} is no resource that can be declared",
                hint=f"one of {', '.join(known)}",
            )
