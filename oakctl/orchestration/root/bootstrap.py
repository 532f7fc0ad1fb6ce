"""Clusters and workers come and go: what is checked, stored and done on hosts, in which order.

Belongs here: the operations on hosts, each of which carries on where an earlier run stopped.
Does not belong here: single steps on a host (`oakctl.remote`), running operations
(`root.operations`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from sqlite_utils import Database

from oakctl.errors import Conflict, DeadlineExceeded, NotFound, OakError
from oakctl.model import subjects
from oakctl.model.messages import Enrolment, WorkerChange, WorkerSummary
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root import credentials, names, placing
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.clusters import Clusters
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.operations import Operations, Progress
from oakctl.orchestration.root.store import events, fleet, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.scheduling import policies
from oakctl.overlay import addressing
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs

log = logging.getLogger("oakctl.root.bootstrap")

READY_TIMEOUT_S = 60.0
DRAIN_TIMEOUT_S = 60.0


class Bootstrap:
    """The commands that change which machines there are."""

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
        names.check(request.name, "cluster")
        policies.named(request.policy)

        fresh = False

        def prepare(db: Database) -> None:
            nonlocal fresh
            fresh = fleet.cluster(db, request.name) is None
            fleet.put_cluster(db, _new_cluster(db, request, time.time()))

        async def work(progress: Progress) -> None:
            row, host = await self._store.run(lambda db: _cluster_and_host(db, request.name))
            try:
                await self._install_cluster(row, host, request.accept_new, progress)
            except OakError:
                # A host that was never reached does not hold the name.
                if fresh and not progress.touched:
                    credentials.forget_cluster(request.name)
                    await self._store.run(lambda db: fleet.forget_cluster(db, request.name))
                raise

        subject = f"cluster {request.name}"
        same = replace(request, accept_new=False)
        return await self._operations.start("cluster create", subject, prepare, work, same)

    async def _install_cluster(
        self, row: fleet.ClusterRow, host: HostView, accept_new: bool, progress: Progress
    ) -> None:
        _, secret = credentials.root_secret(row.name)
        block = addressing.cluster_block(row.block)
        inputs = ClusterInputs(
            cluster=row.name,
            policy=row.policy,
            location=row.location,
            node_subnets=block,
            root_secret=secret,
        )

        def install() -> ClusterAccess:
            return self._installer.cluster(
                host, accept_new, inputs, progress.report, progress.cancelled
            )

        access = await progress.in_thread(install)
        credentials.save_access(row.name, access)
        await self._clusters.open(row.name, host, access)
        await progress.step(host.name, "orchestrator: answers", self._until_reachable(row.name))

        def ready(db: Database) -> None:
            fleet.set_cluster(db, row.name, state="ready")
            events.append(
                db, time.time(), "cluster.created", row.name, f"host {host.name} orchestrates it"
            )

        await self._store.run(ready)

    async def _until_reachable(self, name: str) -> None:
        def state() -> str | None:
            link = self._clusters.links.get(name)
            if link is None:
                return "its link was closed"
            return None if link.reachable else link.reason

        await self._until(f"cluster {name} to answer", state, READY_TIMEOUT_S)

    async def remove_cluster(self, name: str) -> OperationView:
        """Take a cluster apart; raises Conflict while it has workers."""
        complete: list[bool] = []

        def prepare(db: Database) -> None:
            row, _ = _cluster_and_host(db, name)
            _check_removable(db, name)
            complete.append(row.state != "creating")
            fleet.set_cluster(db, name, state="removing")
            for instance in wanted.instances(db):
                if instance.cluster == name:
                    placing.withdraw(db, instance, time.time(), keep_wanted=True)

        async def work(progress: Progress) -> None:
            _, host = await self._store.run(lambda db: _cluster_and_host(db, name))
            if complete[0]:
                await progress.step(host.name, "instances: moved away", self._drained(name))
            await self._clusters.close(name)
            await progress.in_thread(
                lambda: self._installer.remove(host, "cluster", progress.report, progress.cancelled)
            )
            credentials.forget_cluster(name)
            await self._store.run(lambda db: _forget_cluster(db, name))

        return await self._operations.start("cluster remove", f"cluster {name}", prepare, work)

    async def _drained(self, name: str) -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while True:
            seen = self._bell.count
            rows = await self._store.run(wanted.instances)
            left = [row for row in rows if row.cluster == name]
            if not left:
                return
            if time.monotonic() >= deadline:
                link = self._clusters.links.get(name)
                reason = link.reason if link is not None else ""
                raise DeadlineExceeded(
                    f"cluster {name} still has {len(left)} instances after {DRAIN_TIMEOUT_S:.0f} s"
                    + (f": {reason}" if reason else ""),
                    hint=f"oakctl cluster remove {name} again when it is reachable",
                )
            await self._bell.wait(seen, 1.0)

    # --- workers ---

    async def add_worker(self, request: WorkerAdd) -> OperationView:
        """Make a host a worker of a cluster, or carry on with that."""
        bus_server.check_worker_name(names.check(request.name, "worker"))

        fresh = False

        def prepare(db: Database) -> None:
            nonlocal fresh
            fresh = fleet.worker(db, request.cluster, request.name) is None
            fleet.put_worker(db, _new_worker(db, request))

        async def work(progress: Progress) -> None:
            _, host = await self._store.run(
                lambda db: _worker_and_host(db, request.cluster, request.name)
            )
            try:
                await self._install_worker(request, host, progress)
            except OakError:
                if fresh and not progress.touched:
                    await self._unlearn_worker(request)
                raise

        subject = f"worker {request.cluster}/{request.name}"
        same = replace(request, accept_new=False)
        return await self._operations.start("worker add", subject, prepare, work, same)

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

    async def _install_worker(self, request: WorkerAdd, host: HostView, progress: Progress) -> None:
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
        inputs = WorkerInputs(
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
        )
        await progress.in_thread(
            lambda: self._installer.worker(
                host, request.accept_new, inputs, progress.report, progress.cancelled
            )
        )
        await progress.step(host.name, "agent: ready", self._until_ready(link, request.name))

        def ready(db: Database) -> None:
            fleet.set_worker(db, request.cluster, request.name, "ready")
            events.append(
                db,
                time.time(),
                "worker.added",
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

        await self._until(f"worker {link.name}/{worker} to be ready", state, READY_TIMEOUT_S)

    async def remove_worker(self, cluster: str, name: str) -> OperationView:
        """Drain a worker, and take everything of ours from its host."""
        row, host = await self._store.run(lambda db: _worker_and_host(db, cluster, name))
        link = self._clusters.link(cluster)

        async def work(progress: Progress) -> None:
            if row.state != "joining" or summary(link, name) is not None:
                await progress.step(host.name, "instances: drained", self._drain(link, name))
            await progress.in_thread(
                lambda: self._installer.remove(host, "worker", progress.report, progress.cancelled)
            )
            credentials.forget_worker(cluster, name)
            await self._store.run(lambda db: _forget_worker(db, cluster, name))

        return await self._operations.start(
            "worker remove",
            f"worker {cluster}/{name}",
            lambda db: fleet.set_worker(db, cluster, name, "removing"),
            work,
        )

    async def _drain(self, link: Link, worker: str) -> None:
        await link.order(subjects.CTL_WORKER, WorkerChange(worker, remove=True))
        await link.refresh()

        def state() -> str | None:
            if not link.reachable or link.state is None:
                return link.reason
            left = sum(place.worker == worker for place in link.state.instances)
            return f"{left} instances are still there" if left else None

        await self._until(f"worker {link.name}/{worker} to be empty", state, DRAIN_TIMEOUT_S)

    # --- both ---

    async def _until(self, what: str, missing: Callable[[], str | None], timeout_s: float) -> None:
        """Wait until `missing` says None; the error says what it said last."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self._bell.count
            reason = missing()
            if reason is None:
                return
            if time.monotonic() >= deadline:
                raise DeadlineExceeded(
                    f"waited {timeout_s:.0f} s for {what}: {reason}",
                    hint="run the command again: it carries on",
                )
            await self._bell.wait(seen, 0.5)


def summary(link: Link, worker: str) -> WorkerSummary | None:
    """What the cluster says of one of its workers."""
    workers = link.state.workers if link.state is not None else ()
    return next((found for found in workers if found.name == worker), None)


def _hash(secret: str) -> str:
    return credentials.hashed(secret)


def _new_cluster(db: Database, request: ClusterCreate, now: float) -> fleet.ClusterRow:
    _known_host(db, request.host)
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
    _known_host(db, request.host)
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


def _known_host(db: Database, name: str) -> HostView:
    host = fleet.host(db, name)
    if host is None:
        raise NotFound(f"there is no host {name!r}", hint="oakctl host add NAME ADDRESS")
    return host


def _cluster_and_host(db: Database, name: str) -> tuple[fleet.ClusterRow, HostView]:
    row = fleet.cluster(db, name)
    if row is None:
        raise NotFound(f"there is no cluster {name!r}", hint="oakctl cluster ls")
    return row, _known_host(db, row.host)


def _check_removable(db: Database, name: str) -> None:
    workers = [worker for worker in fleet.workers(db) if worker.cluster == name]
    if workers:
        raise Conflict(
            f"cluster {name} has {len(workers)} worker{'' if len(workers) == 1 else 's'}",
            hint=f"first: oakctl worker remove {name}/{workers[0].name}",
            details=tuple(f"{name}/{worker.name}" for worker in workers),
        )


def _worker_and_host(db: Database, cluster: str, name: str) -> tuple[fleet.WorkerRow, HostView]:
    row = fleet.worker(db, cluster, name)
    if row is None:
        raise NotFound(f"there is no worker {cluster}/{name}", hint="oakctl worker ls")
    return row, _known_host(db, row.request.host)


def _forget_cluster(db: Database, name: str) -> None:
    fleet.forget_cluster(db, name)
    events.append(db, time.time(), "cluster.removed", name, "nothing of it is left on its host")


def _forget_worker(db: Database, cluster: str, name: str) -> None:
    fleet.forget_worker(db, cluster, name)
    message = "nothing of it is left on its host"
    events.append(db, time.time(), "worker.removed", f"{cluster}/{name}", message, cluster=cluster)
