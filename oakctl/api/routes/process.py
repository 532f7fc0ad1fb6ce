"""The root process: its status, its end, and the timeline."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from oakctl.api import streams
from oakctl.api.routes.access import RootOf
from oakctl.model.views import RootStatus

router = APIRouter(prefix="/v1", tags=["root"])


@router.get("/status")
async def status(root: RootOf) -> RootStatus:
    """The process, in numbers."""
    return await root.status()


@router.post("/shutdown", status_code=202)
async def shutdown(request: Request) -> dict[str, bool]:
    """Leave; operations under way are interrupted."""
    request.app.state.stop()
    return {"stopping": True}


@router.get("/events", response_class=StreamingResponse)
async def events(
    root: RootOf, after: int = 0, follow: bool = False, limit: int = 1000
) -> StreamingResponse:
    """Events as JSON lines; `after` < 0: only the last `-after`."""
    if follow:
        return streams.response(streams.following_events(root, after))
    return streams.response(streams.event_lines(root, after, limit))
