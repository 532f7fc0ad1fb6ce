"""Clusters and workers go: drained, taken off their hosts, forgotten.

Belongs here: the operations that take away, and going on without hosts that are dead. Does not
belong here: single steps on a host (`oakctl.remote`), running operations (`root.operations`).
"""

from __future__ import annotations

import time

from sqlite_utils import Database

from oakctl.errors import Conflict, DeadlineExceeded, Unreachable
from oakctl.model import subjects
from oakctl.model.messages import WorkerChange
from oakctl.model.views import HostView, OperationView, StepEvent
from oakctl.orchestration.root import credentials, lookup, placing
from oakctl.orchestration.root.bell import Bell, until
from oakctl.orchestration.root.clusters import Clusters
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.operations import Operations, Progress
from oakctl.orchestration.root.store import events, fleet, wanted
from oakctl.orchestration.root.store.database import Store

DRAIN_TIMEOUT_S = 60.0
GONE = "nothing of it is left on its host"
LEFT = "its host does not answer: what is on it stays there"


class Removal:
    """The commands that take clusters and workers off machines.

    With `forget_dead` what does not answer is gone on without: its instances are placed anew
    elsewhere, and a host that comes back later still runs what it ran.
    """

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

    async def remove_cluster(self, name: str, forget_dead: bool = False) -> OperationView:
        """Take a cluster apart; raises Conflict while it has workers."""
        complete: list[bool] = []

        def prepare(db: Database) -> None:
            row, _ = lookup.cluster_and_host(db, name)
            _check_removable(db, name)
            complete.append(row.state != "creating")
            fleet.set_cluster(db, name, state="removing")
            for instance in wanted.instances(db):
                if instance.cluster == name:
                    placing.withdraw(db, instance, time.time(), keep_wanted=True)

        async def work(progress: Progress) -> None:
            _, host = await self._store.run(lambda db: lookup.cluster_and_host(db, name))
            link = self._clusters.links.get(name)
            answers = link is not None and link.reachable
            if complete[0] and (answers or not forget_dead):
                await progress.step(host.name, "instances: moved away", self._drained(name))
            await self._clusters.close(name)
            message = await self._clean(host, "cluster", progress, forget_dead)
            credentials.forget_cluster(name)
            await self._store.run(lambda db: _forget_cluster(db, name, message))

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

    async def remove_worker(
        self, cluster: str, name: str, forget_dead: bool = False
    ) -> OperationView:
        """Drain a worker, and take everything of ours from its host."""
        row, host = await self._store.run(lambda db: lookup.worker_and_host(db, cluster, name))
        link = self._clusters.links.get(cluster)
        if link is None and not forget_dead:
            link = self._clusters.link(cluster)

        async def work(progress: Progress) -> None:
            if link is not None and (link.reachable or not forget_dead):
                await self._emptied(link, row, host, progress)
            message = await self._clean(host, "worker", progress, forget_dead)
            credentials.forget_worker(cluster, name)
            await self._store.run(lambda db: _forget_worker(db, cluster, name, message))

        return await self._operations.start(
            "worker remove",
            f"worker {cluster}/{name}",
            lambda db: fleet.set_worker(db, cluster, name, "removing"),
            work,
        )

    async def _emptied(
        self, link: Link, row: fleet.WorkerRow, host: HostView, progress: Progress
    ) -> None:
        if row.state != "joining" or lookup.summary(link, row.name) is not None:
            await progress.step(host.name, "instances: drained", self._drain(link, row.name))

    async def _drain(self, link: Link, worker: str) -> None:
        await link.order(subjects.CTL_WORKER, WorkerChange(worker, remove=True))
        await link.refresh()

        def state() -> str | None:
            if not link.reachable or link.state is None:
                return link.reason
            left = sum(place.worker == worker for place in link.state.instances)
            return f"{left} instances are still there" if left else None

        what = f"worker {link.name}/{worker} to be empty"
        await until(self._bell, what, state, DRAIN_TIMEOUT_S)

    async def _clean(self, host: HostView, role: str, progress: Progress, forget_dead: bool) -> str:
        """Take `role` off the host; says what is left there. Raises Unreachable where it may."""
        try:
            await progress.in_thread(
                lambda: self._installer.remove(host, role, progress.report, progress.cancelled)
            )
        except Unreachable as error:
            if not forget_dead:
                raise
            title = f"uninstall: {role}"
            progress.report(StepEvent(time.time(), host.name, title, "skipped", error.message))
            return LEFT
        return GONE


def _check_removable(db: Database, name: str) -> None:
    workers = [worker for worker in fleet.workers(db) if worker.cluster == name]
    if workers:
        raise Conflict(
            f"cluster {name} has {len(workers)} worker{'' if len(workers) == 1 else 's'}",
            hint=f"first: oakctl worker remove {name}/{workers[0].name}",
            details=tuple(f"{name}/{worker.name}" for worker in workers),
        )


def _forget_cluster(db: Database, name: str, message: str) -> None:
    # Only those of a cluster that was forgotten unheard are still here.
    for row in wanted.instances(db):
        if row.cluster == name:
            placing.vacate(db, row, time.time())
    fleet.forget_cluster(db, name)
    events.append(db, time.time(), "cluster.removed", name, message)


def _forget_worker(db: Database, cluster: str, name: str, message: str) -> None:
    fleet.forget_worker(db, cluster, name)
    events.append(db, time.time(), "worker.removed", f"{cluster}/{name}", message, cluster=cluster)
