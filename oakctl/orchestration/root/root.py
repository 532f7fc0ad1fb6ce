"""The root orchestrator as an object: started, asked, told, closed.

Belongs here: how the parts are put together, and the questions and commands that `/v1` offers.
Does not belong here: the process (`oakctl.api.serve`), HTTP (`oakctl.api`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from sqlite_utils import Database

import oakctl
from oakctl import paths
from oakctl.errors import Conflict, NotFound
from oakctl.model import subjects
from oakctl.model.messages import LogsAnswer, LogsRequest, WorkerChange
from oakctl.model.requests import ApplyRequest, ClusterChange, LookRequest
from oakctl.model.views import (
    ApplicationView,
    ApplyResult,
    ClusterView,
    Explanation,
    FleetLook,
    InstanceView,
    OperationView,
    RootStatus,
    ServiceView,
    WorkerView,
)
from oakctl.orchestration.root import (
    applying,
    credentials,
    explaining,
    names,
    planning,
    views,
)
from oakctl.orchestration.root.artifacts import Artifacts
from oakctl.orchestration.root.autoscaling import Autoscaling
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.bootstrap import Bootstrap
from oakctl.orchestration.root.checking import Checking
from oakctl.orchestration.root.clusters import Clusters
from oakctl.orchestration.root.delegation import Phase
from oakctl.orchestration.root.driver import Driver
from oakctl.orchestration.root.grants import Grants
from oakctl.orchestration.root.host_access import HostAccess
from oakctl.orchestration.root.host_runs import HostRuns
from oakctl.orchestration.root.hosts import Hosts
from oakctl.orchestration.root.images import Images
from oakctl.orchestration.root.installer import Installer, SshInstaller
from oakctl.orchestration.root.means import Means
from oakctl.orchestration.root.moving import Moving
from oakctl.orchestration.root.operations import Operations
from oakctl.orchestration.root.overlay import Overlay
from oakctl.orchestration.root.passwords import Passwords
from oakctl.orchestration.root.previewing import Previewing
from oakctl.orchestration.root.process import Use
from oakctl.orchestration.root.removal import Removal
from oakctl.orchestration.root.replacing import Replacing
from oakctl.orchestration.root.secrets import Secrets
from oakctl.orchestration.root.sessions import Sessions
from oakctl.orchestration.root.store import (
    events,
    fleet,
    operations,
    records,
    replacements,
    wanted,
)
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.root.tokens import JoinTokens
from oakctl.orchestration.root.upgrading import Upgrading
from oakctl.orchestration.scheduling import policies

log = logging.getLogger("oakctl.root")

TICK_S = 1.0
LOGS_WAIT_S = 5.0


class Root:
    """The one root of a state directory; `async with Root() as root:`."""

    def __init__(self, installer: Installer | None = None) -> None:
        paths.private_directory(paths.state_directory())
        self.started_at = time.time()
        self.bell = Bell()  # rings whenever a question may have another answer
        self.closing = False
        self.store = Store(paths.database())
        self.artifacts = Artifacts(self.store)
        self.images = Images(self.store, self.artifacts)
        self.secrets = Secrets(self.store)
        self.operations = Operations(self.store, self.bell)
        self.passwords = Passwords()
        self.passphrases = Passwords()
        real = SshInstaller(self.passwords, self.passphrases)
        machines = installer or real
        self._checking = Checking(machines, self.passwords)
        self.hosts = Hosts(self.store, machines, self._checking, self.passwords)
        self.access = HostAccess(self.hosts.one, self.passphrases)
        self.host_runs = HostRuns(self.hosts.named, real.target)
        self.sessions = Sessions(self.instance, lambda name: self.clusters.link(name))
        self.clusters = Clusters(self.store, machines, self.bell, self._wake)
        self.overlay = Overlay(self.clusters.links, self.service, self.worker_views)
        self.previewing = Previewing(self.store, self.clusters.links)
        self.driver = Driver(
            self.store, self.clusters.links, self.artifacts, self.secrets, self.bell
        )
        self.autoscaling = Autoscaling(self.store, self.clusters.links)
        self.moving = Moving(self.store, self.clusters.links)
        self.replacing = Replacing(self.store, self.clusters.links, self.driver.reason)
        means = Means(self.store, self.clusters, self.operations, machines, self.bell)
        self.bootstrap = Bootstrap(means)
        self.upgrading = Upgrading(means, self.bootstrap)
        self.removal = Removal(means)
        self.grants = Grants(means)
        self.tokens = JoinTokens(means)
        self._machines = machines
        self._use = Use()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Root:
        await self.store.open()
        await self.operations.fail_interrupted()
        await self.artifacts.sweep()
        await self.clusters.open_all()
        self._tasks = [asyncio.create_task(self.driver.run()), asyncio.create_task(self._tick())]
        for task in self._tasks:
            task.add_done_callback(_report)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close_streams()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.operations.close()
        await self.driver.close()
        await self.clusters.close_all()
        await self.store.close()

    def close_streams(self) -> None:
        """Those who follow something are told that this root ends."""
        self.closing = True
        self.bell.ring()

    def _wake(self) -> None:
        self.driver.wake()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.clusters.note_reachability()
            await self.tokens.settle()
            if await self.autoscaling.once() or await self.replacing.once():
                self._changed()
            self._use.sample()

    # --- the root itself ---

    async def status(self) -> RootStatus:
        """The process, in numbers."""
        scene = await self.scene()
        running = sum(view.state.value == "RUNNING" for view in views.instances(scene))
        return RootStatus(
            version=oakctl.__version__,
            pid=os.getpid(),
            started_at=self.started_at,
            state_directory=str(paths.state_directory()),
            clusters=len(scene.clusters),
            workers=len(scene.workers),
            applications=len(scene.applications),
            instances_running=running,
            undelegated=sum(
                row.wanted and row.phase in (Phase.UNPLACED, Phase.OFFERED) for row in scene.rows
            ),
            rss_mb=round(self._use.rss_mb, 1),
            cpu_percent=round(self._use.cpu_percent, 2),
        )

    async def is_idle(self) -> bool:
        """Whether nothing would be lost or delayed if this process left now."""
        scene = await self.scene()
        scales = any(row.spec.autoscale is not None for row in scene.services)
        return self.operations.running == 0 and _unfinished(scene) == 0 and not scales

    async def scene(self) -> views.Scene:
        """What is stored, and what clusters say, now."""
        heard = {
            name: views.Heard(
                link.reachable, link.reason, link.last_seen, link.state, link.statistics
            )
            for name, link in self.clusters.links.items()
        }

        def read(db: Database) -> views.Scene:
            return views.Scene(
                wanted.applications(db),
                wanted.services(db),
                wanted.instances(db),
                fleet.clusters(db),
                fleet.workers(db),
                heard,
                self.driver.reason,
                self.driver.waits,
                Counter(each.job_name for each in replacements.all_of(db)),
                replacements.halts(db),
            )

        return await self.store.run(read)

    # --- clusters and workers ---

    async def cluster_views(self) -> Sequence[ClusterView]:
        """Every cluster."""
        return views.clusters(await self.scene())

    async def cluster(self, name: str) -> ClusterView:
        """One cluster; raises NotFound."""
        found = [view for view in await self.cluster_views() if view.name == name]
        if not found:
            raise NotFound(f"there is no cluster {name!r}", hint="oakctl cluster ls")
        return found[0]

    async def change_cluster(self, name: str, change: ClusterChange) -> ClusterView:
        """Set the policy, durably; the cluster is told as soon as it is reachable."""
        await self.cluster(name)
        credentials.own(name, "its policy")
        policy = change.policy
        if policy is not None:
            policies.named(policy)

            def work(db: Database) -> None:
                fleet.set_cluster(db, name, policy=policy)
                message = f"its policy is {policy}"
                events.append(db, time.time(), "cluster.changed", name, message, cluster=name)

            await self.store.run(work)
            self._changed()
        return await self.cluster(name)

    async def worker_views(self, cluster: str | None = None) -> Sequence[WorkerView]:
        """The workers, of one cluster or of all."""
        if cluster is not None:
            await self.cluster(cluster)
        found = views.workers(await self.scene())
        return [view for view in found if cluster in (None, view.cluster)]

    async def worker(self, cluster: str, name: str) -> WorkerView:
        """One worker; raises NotFound."""
        found = [view for view in await self.worker_views(cluster) if view.name == name]
        if not found:
            raise NotFound(f"there is no worker {cluster}/{name}", hint="oakctl worker ls")
        return found[0]

    async def cordon(self, cluster: str, name: str, cordoned: bool) -> WorkerView:
        """Whether a worker takes new instances; the cluster keeps it, so it must be reachable."""
        await self.worker(cluster, name)
        link = self.clusters.link(cluster)
        await link.order(subjects.CTL_WORKER, WorkerChange(name, cordoned=cordoned))
        await link.refresh()
        self._changed()
        return await self.worker(cluster, name)

    async def look(self, request: LookRequest) -> FleetLook:
        """What hosts are, and what would be done there; nothing is changed."""
        return await planning.look(self.store, self._machines, self._checking, request)

    # --- operations ---

    async def operation_views(self) -> Sequence[OperationView]:
        """The newest first, without steps."""
        return await self.store.run(operations.all_of)

    async def operation(self, id: int) -> OperationView:
        """One, with its steps; raises NotFound."""
        found = await self.store.run(lambda db: operations.one(db, id))
        if found is None:
            raise NotFound(f"there is no operation {id}", hint="oakctl event ls")
        return found

    # --- applications ---

    async def apply(self, request: ApplyRequest) -> ApplyResult:
        """Whole or not at all; durable when this returns."""
        applications, warnings = await asyncio.to_thread(applying.read, request)
        applications = await self.images.resolve(applications)
        await applying.check_artifacts(applications, self.artifacts)
        self.secrets.check(applications)
        result = await self.store.run(
            lambda db: applying.apply(db, applications, warnings, time.time())
        )
        self._changed()
        return result

    async def scale(self, name: str, replicas: int) -> ServiceView:
        """Durable when this returns; instances follow."""
        job = await self.store.run(lambda db: applying.scale(db, name, replicas, time.time()))
        self._changed()
        return await self.service(job)

    async def restart(self, name: str, *, at_once: bool = False) -> ServiceView:
        """Durable when this returns; instances are replaced, or end and come back."""
        job = await self.moving.restart(name, at_once=at_once)
        self._changed()
        return await self.service(job)

    async def migrate(self, name: str, to: str) -> ServiceView:
        """Durable when this returns; the instance is replaced by one on the worker `to`."""
        job = await self.moving.migrate(name, to)
        self._changed()
        return await self.service(job)

    async def delete_application(self, name: str) -> ApplicationView:
        """Durable when this returns; the application is gone when its last instance is."""
        before = await self.application(name)
        full = await self.store.run(lambda db: applying.delete(db, name, time.time()))
        self._changed()
        found = [view for view in await self.application_views() if view.name == full]
        return found[0] if found else before

    async def application_views(self) -> Sequence[ApplicationView]:
        """Every application, those being deleted too."""
        return views.applications(await self.scene())

    async def application(self, name: str) -> ApplicationView:
        """One application, by its name or a short one."""
        found = {view.name: view for view in await self.application_views()}
        return found[names.application(name, found)]

    async def service_views(self, application: str | None = None) -> Sequence[ServiceView]:
        """The services, of one application or of all."""
        scene = await self.scene()
        found = views.services(scene)
        if application is None:
            return found
        full = names.application(application, [row.name for row in scene.applications])
        return [view for view in found if view.application == full]

    async def service(self, name: str) -> ServiceView:
        """One service, by its job name or a short one."""
        found = {view.job_name: view for view in await self.service_views()}
        return found[names.service(name, found)]

    async def instance_views(self, service: str | None = None) -> Sequence[InstanceView]:
        """The instances, of one service or of all."""
        scene = await self.scene()
        found = views.instances(scene)
        if service is None:
            return found
        job = names.service(service, [row.spec.job_name for row in scene.services])
        return [view for view in found if view.job_name == job]

    async def instance(self, name: str) -> InstanceView:
        """One instance, by its name or a short one."""
        found = {view.name: view for view in await self.instance_views()}
        return found[names.instance(name, found)]

    async def explain(self, name: str) -> Explanation:
        """Why the instances of a service are where they are."""
        service = await self.service(name)
        instances = await self.instance_views(service.job_name)
        decisions = await self.store.run(lambda db: records.decisions(db, service.job_name))
        workers = [
            (link.name, worker)
            for link in self.clusters.links.values()
            if link.state is not None
            for worker in link.state.workers
        ]
        return explaining.explain(service, instances, decisions, workers)

    async def logs(self, name: str, offset: int, follow: bool) -> AsyncIterator[LogsAnswer]:
        """Pieces of an instance's log, from `offset` (< 0: from the end), until its end.

        With `follow` an empty piece comes when there was nothing new for a few seconds.
        """
        view = await self.instance(name)
        if not view.cluster:
            raise Conflict(
                f"{view.name} has no place yet: {view.reason or 'it waits'}",
                hint=f"oakctl explain {view.job_name}",
            )
        link = self.clusters.link(view.cluster)
        wait_s = LOGS_WAIT_S if follow else 0.0
        while True:
            request = LogsRequest(view.name, offset, wait_s=wait_s)
            answer = await link.ask(
                subjects.CTL_LOGS, request, LogsAnswer, timeout_s=LOGS_WAIT_S + wait_s
            )
            if answer.error:
                raise NotFound(f"{view.name}: {answer.error}")
            yield answer
            if answer.ended or self.closing or not (follow or answer.data):
                return
            offset = answer.next_offset

    def changed(self) -> None:
        """Something was done to what is stored: look again, and tell who follows."""
        self._changed()

    def _changed(self) -> None:
        self.bell.ring()
        self.driver.wake()


def _unfinished(scene: views.Scene) -> int:
    moving = sum(row.phase is not Phase.PLACED for row in scene.rows)
    # An application whose last shares are not confirmed yet has no rows, and needs this root.
    moving += sum(scene.replacing.values())
    return moving + sum(row.deleting for row in scene.applications)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("a part of the root broke", exc_info=error)
