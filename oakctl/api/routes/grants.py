"""Clusters that operators share: who is let in, and taking up what one was handed."""

from __future__ import annotations

from fastapi import APIRouter

from oakctl.api.routes.access import RootOf
from oakctl.model.requests import GrantRequest
from oakctl.model.roots import AccessFile, RootSummary
from oakctl.model.views import OperationView

router = APIRouter(prefix="/v1", tags=["grants"])


@router.get("/clusters/{cluster}/grants")
async def grants(root: RootOf, cluster: str) -> list[RootSummary]:
    """The roots that were let in."""
    return [*await root.grants.listed(cluster)]


@router.post("/clusters/{cluster}/grants", status_code=202)
async def grant(root: RootOf, cluster: str, request: GrantRequest) -> OperationView:
    """Begin to let a root in; its access file is then fetched once."""
    return await root.grants.grant(cluster, request)


@router.post("/clusters/{cluster}/grants/{name}/access")
async def access(root: RootOf, cluster: str, name: str) -> AccessFile:
    """What the other operator is handed: given once, and forgotten here."""
    return root.grants.fetch(cluster, name)


@router.delete("/clusters/{cluster}/grants/{name}", status_code=202)
async def revoke(
    root: RootOf, cluster: str, name: str, keep_running: bool = False
) -> OperationView:
    """Begin to throw a root out; what it runs is stopped, unless `keep_running`."""
    return await root.grants.revoke(cluster, name, keep_running=keep_running)


@router.post("/cluster-accesses", status_code=202)
async def join(root: RootOf, given: AccessFile) -> OperationView:
    """Begin to use a cluster of another operator's, by the file that he made."""
    return await root.grants.join(given)
