"""What the screens need of a root, and one look at it.

Belongs here: the narrow view of `RootClient` that screens have, so that tests can give another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from oakctl.model.events import Event
from oakctl.model.overlay_views import OverlayView, RouteView, TestedView, TraceView
from oakctl.model.views import (
    ApplicationView,
    ClusterView,
    Explanation,
    InstanceView,
    OperationView,
    RootStatus,
    ServiceView,
    WorkerView,
)
from oakctl.tui.viewmodels.snapshot import Snapshot


class OverlayReader(Protocol):
    """What screens ask about the overlay."""

    async def view(self) -> OverlayView:
        """All of it."""

    async def trace(self, service: str, node: str) -> TraceView:
        """A service from a node's point of view."""

    async def route(self, a: str, b: str) -> RouteView:
        """The way between two nodes."""

    async def test(self, nodes: Sequence[str] = ()) -> TestedView:
        """Tries from inside these, or all."""


class RootReader(Protocol):
    """The questions that screens ask."""

    @property
    def overlay(self) -> OverlayReader:
        """Those about the overlay."""

    async def status(self) -> RootStatus:
        """The root itself."""

    async def clusters(self) -> Sequence[ClusterView]:
        """All clusters."""

    async def workers(self) -> Sequence[WorkerView]:
        """All workers."""

    async def services(self) -> Sequence[ServiceView]:
        """All services."""

    async def instances(self) -> Sequence[InstanceView]:
        """All instances."""

    async def operations(self) -> Sequence[OperationView]:
        """Work on hosts."""

    async def explain(self, name: str) -> Explanation:
        """Why the instances of a service are where they are."""

    def events(self, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """The timeline."""

    async def history(self, subject: str) -> Sequence[Event]:
        """What happened to one thing, oldest first."""

    def logs(self, name: str, tail_bytes: int = 65536, follow: bool = False) -> AsyncIterator[str]:
        """What an instance printed."""


class RootWriter(Protocol):
    """What screens change, each after a question."""

    async def scale(self, name: str, replicas: int) -> ServiceView:
        """How many instances are wanted."""

    async def restart(self, name: str) -> ServiceView:
        """Replace the instances, one after the other."""

    async def migrate(self, name: str, to: str) -> ServiceView:
        """Replace an instance by one on another worker."""

    async def delete_application(self, name: str) -> ApplicationView:
        """Begin to delete."""

    async def cordon(self, cluster: str, name: str, cordoned: bool) -> WorkerView:
        """Whether a worker takes new instances."""

    async def drain(self, cluster: str, name: str) -> WorkerView:
        """Move a worker's instances elsewhere."""


class Root(RootReader, RootWriter, Protocol):
    """Both."""


Connect = Callable[[], AbstractAsyncContextManager[Root]]


async def look(root: RootReader, now: float) -> Snapshot:
    """Everything that is shown, asked for at once; raises OakError when the root does not say."""
    status, clusters, workers, services, instances = await asyncio.gather(
        root.status(), root.clusters(), root.workers(), root.services(), root.instances()
    )
    return Snapshot(now, status, tuple(clusters), tuple(workers), tuple(services), tuple(instances))
