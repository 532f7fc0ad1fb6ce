"""The overlay: how it is, a way followed through it, tries from inside."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from oakctl.api.routes.access import RootOf
from oakctl.model.overlay_views import OverlayView, RouteView, TestedView, TraceView

router = APIRouter(prefix="/v1/overlay", tags=["overlay"])


@router.get("")
async def overlay(root: RootOf) -> OverlayView:
    """Modes, tables, pairs, addresses and faults of the whole fleet."""
    return await root.overlay.view()


@router.get("/traces/{service}")
async def trace(root: RootOf, service: str, node: Annotated[str, Query(min_length=1)]) -> TraceView:
    """A service from one node's point of view; the node is asked now."""
    return await root.overlay.trace(service, node)


@router.get("/routes")
async def route(
    root: RootOf,
    a: Annotated[str, Query(min_length=1)],
    b: Annotated[str, Query(min_length=1)],
) -> RouteView:
    """The way from node `a` to node `b`."""
    return await root.overlay.route(a, b)


@router.post("/tests")
async def try_out(root: RootOf, node: Annotated[list[str] | None, Query()] = None) -> TestedView:
    """Tries from inside these nodes, or all; it takes some seconds and changes nothing."""
    return await root.overlay.test(node or [])
