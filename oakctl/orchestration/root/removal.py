"""Clusters and workers go: in order, or forgotten because their hosts are gone for good.

Belongs here: what is drained, revoked, taken off hosts and forgotten, in which order. Each
operation carries on where an earlier run stopped. Does not belong here: how they came
(`root.bootstrap`), single steps on a host (`oakctl.remote`).
"""

from __future__ import annotations

import time

from sqlite_utils import Database

from oakctl.errors import Conflict, DeadlineExceeded, Unreachable
from oakctl.model import subjects
from oakctl.model.messages import WorkerChange
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.root import credentials, placing
from oakctl.orchestration.root.bell import until
from oakctl.orchestration.root.links import Link, summary
from oakctl.orchestration.root.means import Means
from oakctl.orchestration.root.operations import Progress
from oakctl.orchestration.root.store import events, fleet, wanted

DRAIN_TIMEOUT_S = 60.0
CLEAN = "nothing of it is left on its host"
ABANDONED = "it was forgotten, its host was not touched"
LEFT_TO_ITS_OWNER = "it is another operator's, who can revoke the grant"
UNUSED = "nobody has used its token, which is revoked"
OWNERS = "what is on its machine its owner takes away: sudo python3 join.pyz --remove"
LEFT = "its host does not answer: what is on it stays there"


class Removal:
    """The commands that end a machine's part in a cluster."""

    def __init__(self, means: Means) -> None:
        self._store = means.store
        self._clusters = means.clusters
        self._operations = means.operations
        self._installer = means.installer
        self._bell = means.bell

    # --- clusters ---

    async def remove_cluster(
        self, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        """Take a cluster apart; raises Conflict while it has workers.

        `force`: forget it and its workers without a connection to any host, for hosts that are
        gone for good. Its instances are placed anew, or wait with the reason. With `clean` it
        still has to be without workers, and its host is cleaned if that answers.
        """
        complete: list[bool] = []

        def prepare(db: Database) -> None:
            row, _ = fleet.cluster_and_host(db, name)
            if clean or not force:
                _check_removable(db, name)
            complete.append(row.state != "creating")
            fleet.set_cluster(db, name, state="removing")
            for instance in wanted.instances(db):
                if instance.cluster == name:
                    placing.withdraw(db, instance, time.time(), keep_wanted=True)

        async def work(progress: Progress) -> None:
            _, host = await self._store.run(lambda db: fleet.cluster_and_host(db, name))
            if force:
                await self._abandon_cluster(name, host, progress, clean)
                return
            if complete[0]:
                await progress.step(host.name, "instances: moved away", self._drained(name))
            await self._clusters.close(name)
            if credentials.account(name):
                await self._leave(name, host, progress)
                return
            await self._clean(host, "cluster", progress)
            credentials.forget_cluster(name)
            await self._store.run(lambda db: _forget_cluster(db, name, CLEAN))

        return await self._operations.start(
            "cluster remove", f"cluster {name}", prepare, work, (name, force, clean)
        )

    async def _abandon_cluster(
        self, name: str, host: HostView, progress: Progress, clean: bool
    ) -> None:
        link = self._clusters.links.get(name)
        if link is not None and link.reachable:
            # It answers after all: what it runs ends in order, as far as it can.
            try:
                await progress.step(host.name, "instances: moved away", self._drained(name))
            except DeadlineExceeded as error:
                progress.note(host.name, "instances: given up", error.message)
        await self._clusters.close(name)
        if credentials.account(name):
            await self._leave(name, host, progress)
            return
        left = await self._clean_if_there(host, "cluster", progress) if clean else ABANDONED
        credentials.forget_cluster(name)
        await self._store.run(lambda db: _forget_cluster(db, name, left))
        progress.note(host.name, "cluster: forgotten", left)

    async def _leave(self, name: str, host: HostView, progress: Progress) -> None:
        """Forget a cluster that is another operator's, and the way to it; nothing is done there."""
        credentials.forget_cluster(name)

        def forget(db: Database) -> None:
            _forget_cluster(db, name, LEFT_TO_ITS_OWNER)
            fleet.forget_host(db, host.name)

        await self._store.run(forget)
        progress.note(host.name, "cluster: forgotten", LEFT_TO_ITS_OWNER)

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
                    hint=f"oakctl cluster remove {name} again when it is reachable, "
                    "or with --force when its host is gone for good",
                )
            await self._bell.wait(seen, 1.0)

    # --- workers ---

    async def remove_worker(
        self, cluster: str, name: str, *, force: bool = False, clean: bool = False
    ) -> OperationView:
        """Drain a worker, revoke its credential, and take everything of ours from its host.

        `force`: forget it without a connection to its host, for one that is gone for good. Its
        cluster is told as soon as it answers, and places the instances anew. With `clean` it is
        drained as far as it can be, and its host is cleaned if that answers.
        """
        row, host = await self._store.run(lambda db: fleet.worker_and_host(db, cluster, name))

        async def in_order(progress: Progress) -> None:
            link = self._clusters.link(cluster)
            by_token = not row.request.host
            owners = OWNERS if summary(link, name) is not None else UNUSED
            if by_token or row.state != "joining" or summary(link, name) is not None:
                await progress.step(host.name, "instances: drained", self._drain(link, name))
                await progress.step(host.name, "bus: credential revoked", _dismiss(link, name))
            if by_token:
                progress.note(host.name, "uninstall: worker", owners)
            else:
                await self._clean(host, "worker", progress)
            await self._forget_worker(cluster, name, owners if by_token else CLEAN)

        async def abandon(progress: Progress) -> None:
            link = self._clusters.links.get(cluster)
            if link is not None and link.reachable:
                if clean:
                    await self._drain_if_possible(link, name, host, progress)
                await progress.step(host.name, "bus: credential revoked", _dismiss(link, name))
            else:
                told = f"cluster {cluster} is told as soon as it answers"
                progress.note(host.name, "bus: credential", told)
            left = OWNERS if not row.request.host else ABANDONED
            if clean and row.request.host:
                left = await self._clean_if_there(host, "worker", progress)
            await self._forget_worker(cluster, name, left)
            progress.note(host.name, "worker: forgotten", left)

        return await self._operations.start(
            "worker remove",
            f"worker {cluster}/{name}",
            lambda db: fleet.set_worker(db, cluster, name, "removing"),
            abandon if force else in_order,
            (cluster, name, force, clean),
        )

    async def _forget_worker(self, cluster: str, name: str, message: str) -> None:
        credentials.forget_worker(cluster, name)
        await self._store.run(lambda db: _forget_worker(db, cluster, name, message))

    async def _drain_if_possible(
        self, link: Link, worker: str, host: HostView, progress: Progress
    ) -> None:
        try:
            await progress.step(host.name, "instances: drained", self._drain(link, worker))
        except (Unreachable, DeadlineExceeded) as error:
            progress.note(host.name, "instances: given up", error.message)

    async def _drain(self, link: Link, worker: str) -> None:
        """Its instances run elsewhere or wait, and it has stopped those it had."""
        if summary(link, worker) is None and link.reachable:
            return  # an earlier run has come that far
        await link.order(subjects.CTL_WORKER, WorkerChange(worker, drain=True))
        await link.refresh()
        name = f"{link.name}/{worker}"
        await until(
            self._bell,
            f"worker {name} to be empty",
            lambda: _not_empty(link, worker),
            DRAIN_TIMEOUT_S,
            f"oakctl worker remove {name} again, or with --force when its host is gone for good",
        )

    # --- hosts ---

    async def _clean(self, host: HostView, role: str, progress: Progress) -> None:
        await progress.in_thread(
            lambda: self._installer.remove(host, role, progress.report, progress.cancelled)
        )

    async def _clean_if_there(self, host: HostView, role: str, progress: Progress) -> str:
        """Take `role` off a host that may be gone for good; says what is left there."""
        try:
            await self._clean(host, role, progress)
        except Unreachable as error:
            progress.note(host.name, f"uninstall: {role}", error.message)
            return LEFT
        return CLEAN


def _not_empty(link: Link, worker: str) -> str | None:
    """Why the worker is not drained yet; None when it is."""
    if not link.reachable or link.state is None:
        return link.reason
    left = sum(place.worker == worker for place in link.state.instances)
    if left:
        return f"{left} instances are still placed there"
    found = summary(link, worker)
    if found is None or found.status != "ready":
        return None  # nobody is there to say it
    if not found.is_current:
        return "it has not read yet what it is to run"
    return f"it is stopping {found.holds} instances" if found.holds > 0 else None


async def _dismiss(link: Link, worker: str) -> None:
    await link.order(subjects.CTL_WORKER, WorkerChange(worker, remove=True))
    await link.refresh()


def _check_removable(db: Database, name: str) -> None:
    workers = [worker for worker in fleet.workers(db) if worker.cluster == name]
    if workers:
        raise Conflict(
            f"cluster {name} has {len(workers)} worker{'' if len(workers) == 1 else 's'}",
            hint=f"first: oakctl worker remove {name}/{workers[0].name}",
            details=tuple(f"{name}/{worker.name}" for worker in workers),
        )


def _forget_cluster(db: Database, name: str, message: str) -> None:
    now = time.time()
    for worker in fleet.workers(db):
        if worker.cluster == name:
            _forget_worker(db, name, worker.name, message)
    for row in wanted.instances(db):
        if row.cluster == name:
            placing.vacate(db, row, now)
    fleet.forget_cluster(db, name)
    events.append(db, now, "cluster.removed", name, message)


def _forget_worker(db: Database, cluster: str, name: str, message: str) -> None:
    fleet.forget_worker(db, cluster, name)
    subject = f"{cluster}/{name}"
    events.append(db, time.time(), "worker.removed", subject, message, cluster=cluster)
