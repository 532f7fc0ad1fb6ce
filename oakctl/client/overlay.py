"""The typed client of the overlay's routes.

Belongs here: the requests. Does not belong here: how answers are written (`cli.overlay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from oakctl.client.connection import Connection, part
from oakctl.model import wire
from oakctl.model.overlay_views import OverlayView, RouteView, TestedView, TraceView


class OverlayClient:
    """Part of `RootClient`. Nodes are named NAME or CLUSTER/NAME."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def view(self) -> OverlayView:
        """The overlay of the whole fleet; what is old in it says so."""
        return wire.decode(await self._connection.call("GET", "/v1/overlay"), OverlayView)

    async def trace(self, service: str, node: str) -> TraceView:
        """A service from one node's point of view; NotFound for either."""
        path = f"/v1/overlay/traces/{part(service)}"
        body = await self._connection.call("GET", path, query={"node": node})
        return wire.decode(body, TraceView)

    async def route(self, a: str, b: str) -> RouteView:
        """The way from one node to another; NotFound for either."""
        query = {"a": a, "b": b}
        body = await self._connection.call("GET", "/v1/overlay/routes", query=query)
        return wire.decode(body, RouteView)

    async def test(self, nodes: Sequence[str] = ()) -> TestedView:
        """Tries from inside these nodes, or all; takes some seconds. NotFound for a node."""
        query = urlencode([("node", name) for name in nodes])
        path = "/v1/overlay/tests" + (f"?{query}" if query else "")
        return wire.decode(await self._connection.call("POST", path, timeout_s=60.0), TestedView)
