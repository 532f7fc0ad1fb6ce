"""Applications, services, instances, and the artifacts they need."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from oakctl.api import streams
from oakctl.api.routes.access import RootOf
from oakctl.model.requests import ApplyRequest, InstanceMove, ServiceChange
from oakctl.model.views import (
    ApplicationView,
    ApplyResult,
    Explanation,
    InstanceView,
    Preview,
    ServiceView,
)

router = APIRouter(prefix="/v1", tags=["workloads"])


@router.get("/artifacts/{sha256}")
async def artifact(root: RootOf, sha256: str) -> dict[str, bool]:
    """Whether it was uploaded."""
    return {"present": await root.artifacts.has(sha256)}


@router.put("/artifacts/{sha256}", status_code=201)
async def put_artifact(root: RootOf, sha256: str, request: Request) -> dict[str, int]:
    """Take its bytes, when they have this sha256."""
    return {"size": await root.artifacts.take(sha256, request.stream())}


@router.get("/applications")
async def applications(root: RootOf) -> list[ApplicationView]:
    """Every application."""
    return [*await root.application_views()]


@router.post("/applications")
async def apply(root: RootOf, request: ApplyRequest) -> ApplyResult:
    """Apply a descriptor, whole or not at all."""
    return await root.apply(request)


@router.post("/preview")
async def preview(root: RootOf, request: ApplyRequest) -> Preview:
    """Where the services of a descriptor would go; nothing is changed."""
    return await root.previewing.of(request)


@router.get("/applications/{name}")
async def application(root: RootOf, name: str) -> ApplicationView:
    """One application."""
    return await root.application(name)


@router.delete("/applications/{name}", status_code=202)
async def delete(root: RootOf, name: str) -> ApplicationView:
    """Begin to delete it."""
    return await root.delete_application(name)


@router.get("/services")
async def services(root: RootOf, application: str | None = None) -> list[ServiceView]:
    """The services."""
    return [*await root.service_views(application)]


@router.get("/services/{name}")
async def service(root: RootOf, name: str) -> ServiceView:
    """One service."""
    return await root.service(name)


@router.patch("/services/{name}")
async def scale(root: RootOf, name: str, change: ServiceChange) -> ServiceView:
    """How many instances are wanted."""
    return await root.scale(name, change.replicas)


@router.post("/services/{name}/restart", status_code=202)
async def restart(root: RootOf, name: str, at_once: bool = False) -> ServiceView:
    """Its instances are replaced one after the other, or all end and are started anew."""
    return await root.restart(name, at_once=at_once)


@router.get("/services/{name}/explain")
async def explain(root: RootOf, name: str) -> Explanation:
    """Why its instances are where they are."""
    return await root.explain(name)


@router.get("/instances")
async def instances(root: RootOf, service: str | None = None) -> list[InstanceView]:
    """The instances."""
    return [*await root.instance_views(service)]


@router.get("/instances/{name}")
async def instance(root: RootOf, name: str) -> InstanceView:
    """One instance."""
    return await root.instance(name)


@router.post("/instances/{name}/migrate", status_code=202)
async def migrate(root: RootOf, name: str, move: InstanceMove) -> ServiceView:
    """It is replaced by one on another worker."""
    return await root.migrate(name, move.to)


@router.get("/instances/{name}/logs", response_class=StreamingResponse)
async def logs(
    root: RootOf, name: str, offset: int = -65536, follow: bool = False
) -> StreamingResponse:
    """Its log as JSON lines {data, next_offset, ended}; `offset` < 0: from the end."""
    await root.instance(name)
    return streams.response(streams.log_lines(root, name, offset, follow))
