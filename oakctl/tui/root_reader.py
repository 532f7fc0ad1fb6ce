"""What the screens need of a root, and one look at it.

Belongs here: the narrow view of `RootClient` that screens have, so that tests can give another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from oakctl.model.events import Event
from oakctl.model.views import (
    ClusterView,
    InstanceView,
    OperationView,
    RootStatus,
    ServiceView,
    WorkerView,
)
from oakctl.tui.viewmodels.snapshot import Snapshot


class RootReader(Protocol):
    """The questions that screens ask."""

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

    def events(self, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """The timeline."""


Connect = Callable[[], AbstractAsyncContextManager[RootReader]]


async def look(root: RootReader, now: float) -> Snapshot:
    """Everything that is shown, asked for at once; raises OakError when the root does not say."""
    status, clusters, workers, services, instances = await asyncio.gather(
        root.status(), root.clusters(), root.workers(), root.services(), root.instances()
    )
    return Snapshot(now, status, tuple(clusters), tuple(workers), tuple(services), tuple(instances))
