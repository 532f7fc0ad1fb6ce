"""Images that were pushed. Their blobs come as artifacts (`workloads`)."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from oakctl.api import streams
from oakctl.api.routes.access import RootOf
from oakctl.model.images import Layer
from oakctl.model.requests import ImagePush, ImageSend, LayersQuestion
from oakctl.model.views import ImageView

router = APIRouter(prefix="/v1", tags=["images"])


@router.get("/images")
async def images(root: RootOf) -> list[ImageView]:
    """Every image that was pushed."""
    return [*await root.images.all()]


@router.post("/images")
async def push(root: RootOf, request: ImagePush) -> ImageView:
    """Give an image its name, once its blobs are here."""
    return await root.images.put(request)


@router.post("/images/layers")
async def layers(root: RootOf, request: LayersQuestion) -> list[Layer]:
    """Those of the layers that need not be uploaded."""
    return [*await root.images.known_layers(request.diff_ids)]


@router.post("/images/send", response_class=StreamingResponse)
async def send(root: RootOf, request: ImageSend) -> StreamingResponse:
    """Bring an image to a cluster; JSON lines {there, size, sent, ended}."""
    link = root.clusters.link(request.cluster)
    return streams.response(streams.image_lines(root, link, request.name))


@router.delete("/images")
async def remove(root: RootOf, name: str) -> ImageView:
    """Forget an image that no service uses; its name may have slashes."""
    return await root.images.remove(name)
