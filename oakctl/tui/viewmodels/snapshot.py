"""What the root said last, taken at one time.

Belongs here: the bundle of views that a screen is drawn from. Does not belong here: fetching it.
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.model.views import ClusterView, InstanceView, RootStatus, ServiceView, WorkerView


@dataclass(frozen=True)
class Snapshot:
    """All that the screens show of the fleet; `taken_at` in seconds since the epoch."""

    taken_at: float
    root: RootStatus | None = None
    clusters: tuple[ClusterView, ...] = ()
    workers: tuple[WorkerView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    instances: tuple[InstanceView, ...] = ()
