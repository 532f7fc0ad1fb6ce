"""Clusters and workers come and change: what is checked, stored and done on hosts, in which order.

Belongs here: the operations that make a host what is asked for; each carries on where an earlier
run stopped. Does not belong here: whether that may be (`root.admission`), newer releases
(`root.upgrading`), how they go (`root.removal`), single steps on a host (`oakctl.remote`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from sqlite_utils import Database

from oakctl.errors import NotFound, OakError, Unreachable
from oakctl.model import subjects, tunnel_endpoint
from oakctl.model.messages import Enrolment, WorkerChange
from oakctl.model.requests import ClusterCreate, PlaybookRun, WorkerAdd
from oakctl.model.views import HostView, OperationView
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root import admission, credentials, names
from oakctl.orchestration.root.installer import Role
from oakctl.orchestration.root.links import Link, summary
from oakctl.orchestration.root.means import Means
from oakctl.orchestration.root.operations import Progress
from oakctl.orchestration.root.store import events, fleet
from oakctl.orchestration.scheduling import policies
from oakctl.overlay import addressing
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs

log = logging.getLogger("oakctl.root.bootstrap")

CHANGE = "fleet apply"  # the kind of an operation that may change what there is
ENROL_S = 15.0  # for an orchestrator that has just been started anew, and is not there yet
ENROL_RETRY_S = 0.3


class Bootstrap:
    """The commands that make machines into clusters and workers."""

    def __init__(self, means: Means) -> None:
        self._means = means

    # --- clusters ---

    async def create_cluster(self, request: ClusterCreate) -> OperationView:
        """Make a host the orchestrator of a new cluster, or carry on with that.

        One that is there as asked for is looked at, and mended where a step does not hold.
        """
        return await self._cluster(request, change=False)

    async def put_cluster(self, request: ClusterCreate) -> OperationView:
        """As `create_cluster`; a cluster that exists on this host is changed to this request.

        What is stored of it changes when its host has: an interrupted change is seen as one.
        """
        return await self._cluster(request, change=True)

    async def _cluster(self, request: ClusterCreate, *, change: bool) -> OperationView:
        names.check(request.name, "cluster")
        policies.named(request.policy)
        store = self._means.store
        is_fresh = False

        def prepare(db: Database) -> None:
            nonlocal is_fresh
            is_fresh = fleet.cluster(db, request.name) is None
            row = admission.cluster(db, request, time.time(), change=change)
            if row is not None:
                fleet.put_cluster(db, row)

        async def work(progress: Progress) -> None:
            row, host = await store.run(lambda db: fleet.cluster_and_host(db, request.name))
            wanted = replace(row, policy=request.policy, location=request.location)
            link = self._means.clusters.links.get(row.name)
            if not change and row.state == "ready" and link is not None and link.reachable:
                known = credentials.known_root_secret(row.name)
                inputs = cluster_inputs(request, row.block, known)
                if await self._holds(host, request.accept_new, inputs, progress):
                    return
            try:
                await self.install_cluster(wanted, host, request.accept_new, progress)
            except OakError:
                if is_fresh and not progress.touched:  # a host never reached holds no name
                    credentials.forget_cluster(request.name)
                    await store.run(lambda db: fleet.forget_cluster(db, request.name))
                raise

        kind = CHANGE if change else "cluster create"
        subject = f"cluster {request.name}"
        asked = replace(request, accept_new=False)
        return await self._means.operations.start(kind, subject, prepare, work, asked)

    async def install_cluster(
        self,
        row: fleet.ClusterRow,
        host: HostView,
        accept_new: bool,
        progress: Progress,
        release: str = "",
    ) -> None:
        """Do what makes the host this cluster's orchestrator, until it answers.

        With `release` until it answers from that node archive.
        """
        _, secret = credentials.root_secret(row.name)
        request = ClusterCreate(row.name, row.host, row.policy, row.location)
        inputs = cluster_inputs(request, row.block, secret)

        def install() -> ClusterAccess:
            return self._means.installer.cluster(
                host, accept_new, inputs, progress.report, progress.cancelled
            )

        access = await progress.in_thread(install)
        clusters = self._means.clusters
        link = clusters.links.get(row.name)
        # A link that is up and goes the same way needs no new tunnel.
        if link is None or not link.reachable or credentials.access(row.name) != access:
            credentials.save_access(row.name, access)
            await clusters.open(row.name, host, access)
        answers = self._means.until_reachable(row.name, release)
        await progress.step(host.name, "orchestrator: answers", answers)

        def ready(db: Database) -> None:
            fleet.put_cluster(db, replace(row, state="ready"))
            kind, message = "cluster.created", f"host {host.name} orchestrates it"
            if row.state == "ready":
                kind, message = "cluster.changed", f"its policy is {row.policy}"
            events.append(db, time.time(), kind, row.name, message)

        await self._means.store.run(ready)

    # --- workers ---

    async def add_worker(self, request: WorkerAdd) -> OperationView:
        """Make a host a worker of a cluster, or carry on with that.

        One that is there as asked for is looked at, and mended where a step does not hold.
        """
        return await self._worker(request, change=False)

    async def put_worker(self, request: WorkerAdd) -> OperationView:
        """As `add_worker`; a worker that exists on this host is changed to this request.

        Its agent is restarted when its configuration changed; its instances stay.
        """
        return await self._worker(request, change=True)

    async def _worker(self, request: WorkerAdd, *, change: bool) -> OperationView:
        bus_server.check_worker_name(names.check(request.name, "worker"))
        admission.check_declared(request.declared)
        admission.check_overlay(request)
        cluster, name = request.cluster, request.name
        is_fresh = False

        def prepare(db: Database) -> None:
            nonlocal is_fresh
            is_fresh = fleet.worker(db, cluster, name) is None
            row = admission.worker(db, request, change=change)
            if row is not None:
                fleet.put_worker(db, row)

        async def work(progress: Progress) -> None:
            row, host = await self._means.store.run(
                lambda db: fleet.worker_and_host(db, cluster, name)
            )
            if not change and row.state == "ready" and self._is_ready(request):
                hub = await self._means.store.run(lambda db: hub_of(db, cluster))
                inputs = _known_inputs(request, hub)
                if await self._holds(host, request.accept_new, inputs, progress):
                    return
            try:
                await self.install_worker(request, host, progress, known=row.state == "ready")
            except OakError:
                if is_fresh and not progress.touched:
                    await self._unlearn_worker(request)
                raise

        kind = CHANGE if change else "worker add"
        asked = replace(request, accept_new=False)
        subject = f"worker {cluster}/{name}"
        return await self._means.operations.start(kind, subject, prepare, work, asked)

    def _is_ready(self, request: WorkerAdd) -> bool:
        link = self._means.clusters.links.get(request.cluster)
        found = summary(link, request.name) if link is not None and link.reachable else None
        return found is not None and found.status == "ready"

    async def _unlearn_worker(self, request: WorkerAdd) -> None:
        """A worker whose host was never reached holds neither its name nor a credential."""
        cluster, name = request.cluster, request.name
        try:
            order = WorkerChange(name, remove=True)
            await self._means.clusters.link(cluster).order(subjects.CTL_WORKER, order)
        except OakError as error:
            log.warning("worker %s/%s stays half made: %s", cluster, name, error.message)
            return
        credentials.forget_worker(cluster, name)
        await self._means.store.run(lambda db: fleet.forget_worker(db, cluster, name))

    async def install_worker(
        self,
        request: WorkerAdd,
        host: HostView,
        progress: Progress,
        *,
        known: bool,
        release: str = "",
    ) -> None:
        """Do what makes the host this worker, until it is ready (from `release`, where given)."""
        link = self._means.clusters.link(request.cluster)
        access = credentials.access(request.cluster)
        if access is None:
            raise NotFound(
                f"cluster {request.cluster} is not complete",
                hint=f"oakctl cluster create {request.cluster} --on HOST",
            )
        secret = credentials.worker_secret(request.cluster, request.name)
        hashed = await progress.in_thread(lambda: credentials.hashed(secret))
        enrolment = _enrolled(link, Enrolment(request.name, hashed))
        await progress.step(host.name, "bus: credential", enrolment)
        hub = await self._means.store.run(lambda db: hub_of(db, request.cluster))
        inputs = worker_inputs(request, secret, access, hub)
        await progress.in_thread(
            lambda: self._means.installer.worker(
                host, request.accept_new, inputs, progress.report, progress.cancelled
            )
        )
        ready = self._means.until_ready(link, request.name, release)
        await progress.step(host.name, "agent: ready", ready)
        name = f"{request.cluster}/{request.name}"

        def store(db: Database) -> None:
            fleet.put_worker(db, fleet.WorkerRow(request, "ready"))
            kind = "worker.changed" if known else "worker.added"
            message = f"on host {host.name}"
            events.append(db, time.time(), kind, name, message, cluster=request.cluster)

        await self._means.store.run(store)

    # --- what is there ---

    async def _holds(
        self, host: HostView, accept_new: bool, inputs: Role, progress: Progress
    ) -> bool:
        """Whether every step holds on the host already; then each is told."""
        installer = self._means.installer
        seen = await progress.in_thread(lambda: installer.survey(host, accept_new, [inputs]))
        (steps,) = seen.plans
        if isinstance(steps, OakError) or any(step.state == "planned" for step in steps):
            return False
        for step in steps:
            progress.report(step)
        return True

    # --- playbooks ---

    async def run_playbook(self, request: PlaybookRun) -> OperationView:
        """Run one playbook, ours or the user's own, on a host."""
        host = await self._means.store.run(lambda db: fleet.known_host(db, request.host))

        async def work(progress: Progress) -> None:
            await progress.in_thread(
                lambda: self._means.installer.playbook(
                    host, request, progress.report, progress.cancelled
                )
            )

        subject = f"{request.name} on host {request.host}"
        return await self._means.operations.start(
            "playbook run", subject, lambda db: None, work, request
        )


async def _enrolled(link: Link, enrolment: Enrolment) -> None:
    """Make the worker's user on the bus; twice is fine. Raises Unreachable after ENROL_S."""
    deadline = time.monotonic() + ENROL_S
    while True:
        try:
            await link.order(subjects.CTL_ENROL, enrolment)
            return
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(ENROL_RETRY_S)


def cluster_inputs(request: ClusterCreate, block: int, secret: str) -> ClusterInputs:
    """What a host is given to be this cluster's orchestrator."""
    return ClusterInputs(
        cluster=request.name,
        policy=request.policy,
        location=request.location,
        node_subnets=addressing.cluster_block(block),
        root_secret=secret,
    )


def worker_inputs(request: WorkerAdd, secret: str, access: ClusterAccess, hub: str) -> WorkerInputs:
    """What a host is given to be this worker; `hub` is the orchestrator's host, if that is known.

    A worker on that one is its cluster's relay: where the bus is reached, all others do reach it.
    """
    at_hub = bool(hub) and request.host == hub
    address, port = tunnel_endpoint.read(request.endpoint)
    if not address and at_hub and tunnel_endpoint.is_address(access.bus_address):
        address = access.bus_address
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
        overlay=request.overlay,
        tunnel_port=port,
        tunnel_endpoint=f"{address}:{port}" if address else "",
        relay=request.relay or at_hub,
        allow_reboot=request.allow_reboot,
    )


def hub_of(db: Database, cluster: str) -> str:
    """The orchestrator's host; empty where there is no such cluster yet."""
    row = fleet.cluster(db, cluster)
    return row.host if row is not None else ""


def _known_inputs(request: WorkerAdd, hub: str) -> WorkerInputs:
    access = credentials.access(request.cluster)
    if access is None:
        raise NotFound(f"cluster {request.cluster} is not complete", hint="oakctl cluster ls")
    secret = credentials.known_worker_secret(request.cluster, request.name)
    return worker_inputs(request, secret, access, hub)
