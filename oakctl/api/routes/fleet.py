"""Hosts, clusters, workers, and operations on them."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from oakctl.api import streams
from oakctl.api.routes.access import RootOf
from oakctl.model.requests import (
    ClusterChange,
    ClusterCreate,
    HostCheckRequest,
    LookRequest,
    PlaybookRun,
    SudoPassword,
    WorkerAdd,
    WorkerCordon,
)
from oakctl.model.views import (
    ClusterView,
    FleetLook,
    HostCheck,
    HostView,
    OperationView,
    WorkerView,
)

router = APIRouter(prefix="/v1", tags=["fleet"])


@router.get("/hosts")
async def hosts(root: RootOf) -> list[HostView]:
    """Every host."""
    return [*await root.hosts.all()]


@router.put("/hosts/{name}")
async def put_host(root: RootOf, name: str, host: HostView) -> HostView:
    """Register a host."""
    return await root.hosts.put(replace(host, name=name))


@router.delete("/hosts/{name}")
async def forget_host(root: RootOf, name: str) -> dict[str, bool]:
    """Forget a host that has no role."""
    await root.hosts.forget(name)
    return {"forgotten": True}


@router.put("/hosts/{name}/sudo")
async def give_password(root: RootOf, name: str, given: SudoPassword) -> dict[str, bool]:
    """Keep the password for sudo on a host in memory, for what follows."""
    root.passwords.give(name, given.password)
    return {"kept": bool(given.password)}


@router.post("/host-checks")
async def check_hosts(root: RootOf, request: HostCheckRequest) -> HostCheck:
    """Look at hosts, and change nothing."""
    return await root.hosts.check(request)


@router.post("/looks")
async def look(root: RootOf, request: LookRequest) -> FleetLook:
    """What hosts are, and what would be done there, by their own checks; changes nothing."""
    return await root.look(request)


@router.post("/playbooks/runs", status_code=202)
async def run_playbook(root: RootOf, request: PlaybookRun) -> OperationView:
    """Begin to run a playbook on a host."""
    return await root.bootstrap.run_playbook(request)


@router.get("/clusters")
async def clusters(root: RootOf) -> list[ClusterView]:
    """Every cluster."""
    return [*await root.cluster_views()]


@router.post("/clusters", status_code=202)
async def create_cluster(root: RootOf, request: ClusterCreate) -> OperationView:
    """Begin to make a host a cluster's orchestrator."""
    return await root.bootstrap.create_cluster(request)


@router.get("/clusters/{name}")
async def cluster(root: RootOf, name: str) -> ClusterView:
    """One cluster."""
    return await root.cluster(name)


@router.put("/clusters/{name}", status_code=202)
async def put_cluster(root: RootOf, name: str, request: ClusterCreate) -> OperationView:
    """Begin to make it so, whether it is there or not."""
    return await root.bootstrap.put_cluster(replace(request, name=name))


@router.patch("/clusters/{name}")
async def change_cluster(root: RootOf, name: str, change: ClusterChange) -> ClusterView:
    """Set its policy."""
    return await root.change_cluster(name, change)


@router.delete("/clusters/{name}", status_code=202)
async def remove_cluster(
    root: RootOf, name: str, force: bool = False, clean: bool = False
) -> OperationView:
    """Begin to take it apart; `force`: forget it, without its hosts; `clean`: if they answer."""
    return await root.removal.remove_cluster(name, force=force, clean=clean)


@router.post("/clusters/{name}/upgrade", status_code=202)
async def upgrade_cluster(root: RootOf, name: str) -> OperationView:
    """Begin to bring this program's release to its orchestrator."""
    return await root.upgrading.upgrade_cluster(name)


@router.post("/clusters/{cluster}/workers/{name}/upgrade", status_code=202)
async def upgrade_worker(root: RootOf, cluster: str, name: str) -> OperationView:
    """Begin to bring this program's release to it; its instances stay."""
    return await root.upgrading.upgrade_worker(cluster, name)


@router.get("/workers")
async def workers(root: RootOf, cluster: str | None = None) -> list[WorkerView]:
    """The workers."""
    return [*await root.worker_views(cluster)]


@router.post("/workers", status_code=202)
async def add_worker(root: RootOf, request: WorkerAdd) -> OperationView:
    """Begin to make a host a worker."""
    return await root.bootstrap.add_worker(request)


@router.get("/clusters/{cluster}/workers/{name}")
async def worker(root: RootOf, cluster: str, name: str) -> WorkerView:
    """One worker."""
    return await root.worker(cluster, name)


@router.put("/clusters/{cluster}/workers/{name}", status_code=202)
async def put_worker(root: RootOf, cluster: str, name: str, request: WorkerAdd) -> OperationView:
    """Begin to make it so, whether it is there or not; its instances stay."""
    return await root.bootstrap.put_worker(replace(request, cluster=cluster, name=name))


@router.patch("/clusters/{cluster}/workers/{name}")
async def cordon(root: RootOf, cluster: str, name: str, change: WorkerCordon) -> WorkerView:
    """Whether it takes new instances."""
    return await root.cordon(cluster, name, change.cordoned)


@router.delete("/clusters/{cluster}/workers/{name}", status_code=202)
async def remove_worker(
    root: RootOf, cluster: str, name: str, force: bool = False, clean: bool = False
) -> OperationView:
    """Begin to drain and remove it; `force`: forget it without its host, `clean`: if it answers."""
    return await root.removal.remove_worker(cluster, name, force=force, clean=clean)


@router.get("/operations")
async def operations(root: RootOf) -> list[OperationView]:
    """The newest first, without steps."""
    return [*await root.operation_views()]


@router.get("/operations/{id}")
async def operation(root: RootOf, id: int) -> OperationView:
    """One, with its steps."""
    return await root.operation(id)


@router.get("/operations/{id}/steps", response_class=StreamingResponse)
async def steps(root: RootOf, id: int, after: int = 0) -> StreamingResponse:
    """Its steps as JSON lines, as they happen."""
    await root.operation(id)
    return streams.response(streams.operation_steps(root, id, after))
