"""What would be done to a host, asked without changing anything, here or there.

Belongs here: from a request for a plan to the inputs that a real run would get, as far as they
are known. Does not belong here: doing it (`root.bootstrap`), the steps (`oakctl.remote`).
"""

from __future__ import annotations

import asyncio

from sqlite_utils import Database

from oakctl.errors import UsageError
from oakctl.model.config import BUS_PORT
from oakctl.model.requests import ClusterCreate, PlanRequest, WorkerAdd
from oakctl.model.views import HostPlan, HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.bootstrap import worker_inputs
from oakctl.orchestration.root.installer import Installer, Role
from oakctl.orchestration.root.store import fleet
from oakctl.orchestration.root.store.database import Store
from oakctl.overlay import addressing
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs


async def look(store: Store, installer: Installer, request: PlanRequest) -> HostPlan:
    """The steps of a run, each with whether it holds already; raises what reaching it raises."""
    given = [one for one in (request.cluster, request.worker, request.playbook) if one is not None]
    if len(given) != 1:
        raise UsageError("a plan is of exactly one of cluster, worker and playbook")
    host = await store.run(lambda db: _host(db, request))
    role = await store.run(lambda db: _role(db, request))
    steps = await asyncio.to_thread(installer.check, host, request.accept_new, role)
    return HostPlan(request.host, steps)


def _host(db: Database, request: PlanRequest) -> HostView:
    if not request.address:
        return fleet.known_host(db, request.host)
    return HostView(
        request.host,
        request.address,
        request.port,
        request.user,
        request.identity_file,
        request.jump,
    )


def _role(db: Database, request: PlanRequest) -> Role:
    if request.cluster is not None:
        return _cluster(db, request.cluster)
    if request.worker is not None:
        return _worker(request.worker)
    assert request.playbook is not None
    return request.playbook


def _cluster(db: Database, request: ClusterCreate) -> ClusterInputs:
    row = fleet.cluster(db, request.name)
    block = row.block if row is not None else fleet.lowest_free_block(db)
    return ClusterInputs(
        cluster=request.name,
        policy=request.policy,
        location=request.location,
        node_subnets=addressing.cluster_block(block),
        root_secret=credentials.known_root_secret(request.name),
    )


def _worker(request: WorkerAdd) -> WorkerInputs:
    # Of a cluster that does not exist yet nothing is known: nothing of it is on the host either.
    access = credentials.access(request.cluster) or ClusterAccess(
        "", BUS_PORT, "", BUS_PORT, "", request.cluster
    )
    secret = credentials.known_worker_secret(request.cluster, request.name)
    return worker_inputs(request, secret, access)
