"""Rows that have to be there: a cluster, a worker, a host, or NotFound with the next command.

Belongs here: looking things up by name for work on hosts. Does not belong here: that work.
"""

from __future__ import annotations

from sqlite_utils import Database

from oakctl.errors import NotFound
from oakctl.model.messages import WorkerSummary
from oakctl.model.views import HostView
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import fleet


def host(db: Database, name: str) -> HostView:
    """A host that is registered."""
    found = fleet.host(db, name)
    if found is None:
        raise NotFound(f"there is no host {name!r}", hint="oakctl host add NAME ADDRESS")
    return found


def cluster_and_host(db: Database, name: str) -> tuple[fleet.ClusterRow, HostView]:
    """A cluster, and the host of its orchestrator."""
    row = fleet.cluster(db, name)
    if row is None:
        raise NotFound(f"there is no cluster {name!r}", hint="oakctl cluster ls")
    return row, host(db, row.host)


def worker_and_host(db: Database, cluster: str, name: str) -> tuple[fleet.WorkerRow, HostView]:
    """A worker, and the host that it is."""
    row = fleet.worker(db, cluster, name)
    if row is None:
        raise NotFound(f"there is no worker {cluster}/{name}", hint="oakctl worker ls")
    return row, host(db, row.request.host)


def summary(link: Link, worker: str) -> WorkerSummary | None:
    """What the cluster says of one of its workers."""
    workers = link.state.workers if link.state is not None else ()
    return next((found for found in workers if found.name == worker), None)
