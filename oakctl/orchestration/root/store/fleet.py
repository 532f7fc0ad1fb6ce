"""Hosts, clusters and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlite_utils import Database

from oakctl.errors import NotFound
from oakctl.model import wire
from oakctl.model.requests import WorkerAdd
from oakctl.model.resources import Location
from oakctl.model.views import HostView

JOINED = "joined by token"  # in the place of a host that we do not reach


@dataclass(frozen=True)
class ClusterRow:
    """A cluster as it was asked for. `state`: creating, ready, removing."""

    name: str
    host: str
    policy: str
    location: Location | None
    block: int
    state: str
    created_at: float


@dataclass(frozen=True)
class WorkerRow:
    """A worker as it was asked for. `state`: joining, ready, removing.

    Stored without what was agreed to for one run: a new host key, a restart of the host.
    """

    request: WorkerAdd
    state: str

    @property
    def name(self) -> str:
        """Unique in its cluster."""
        return self.request.name

    @property
    def cluster(self) -> str:
        """The cluster it belongs to."""
        return self.request.cluster


def hosts(db: Database) -> Sequence[HostView]:
    """Every host, with its role."""
    roles: dict[str, str] = {
        row.request.host: f"worker {row.cluster}/{row.name}" for row in workers(db)
    }
    for cluster in clusters(db):
        orchestrates = f"orchestrator of {cluster.name}"
        other = roles.get(cluster.host)
        roles[cluster.host] = f"{orchestrates}, {other}" if other else orchestrates
    found = []
    for (body,) in db.execute("SELECT body FROM hosts ORDER BY name"):
        plain = wire.to_plain(wire.decode(body, HostView))
        plain["role"] = roles.get(plain["name"], "")
        found.append(wire.from_plain(plain, HostView))
    return found


def host(db: Database, name: str) -> HostView | None:
    """One host."""
    return next((view for view in hosts(db) if view.name == name), None)


def known_host(db: Database, name: str) -> HostView:
    """One host; raises NotFound."""
    found = host(db, name)
    if found is None:
        raise NotFound(f"there is no host {name!r}", hint="oakctl host add NAME ADDRESS")
    return found


def put_host(db: Database, view: HostView) -> None:
    """Store a host; its role is not stored, it follows from clusters and workers."""
    body = wire.encode(view).decode()
    db.table("hosts").upsert({"name": view.name, "body": body}, pk="name")


def forget_host(db: Database, name: str) -> None:
    """Remove a host that has no role."""
    db.table("hosts").delete(name)


def clusters(db: Database) -> Sequence[ClusterRow]:
    """Every cluster, by name."""
    rows = db.execute(
        "SELECT name, host, policy, location, block, state, created_at FROM clusters ORDER BY name"
    )
    return [
        ClusterRow(name, host, policy, _location(body), block, state, created_at)
        for name, host, policy, body, block, state, created_at in rows
    ]


def cluster(db: Database, name: str) -> ClusterRow | None:
    """One cluster."""
    return next((row for row in clusters(db) if row.name == name), None)


def cluster_and_host(db: Database, name: str) -> tuple[ClusterRow, HostView]:
    """One cluster with its orchestrator's host; raises NotFound."""
    row = cluster(db, name)
    if row is None:
        raise NotFound(f"there is no cluster {name!r}", hint="oakctl cluster ls")
    return row, known_host(db, row.host)


def put_cluster(db: Database, row: ClusterRow) -> None:
    """Store a cluster, new or changed."""
    db.table("clusters").upsert(
        {
            "name": row.name,
            "host": row.host,
            "policy": row.policy,
            "location": None if row.location is None else wire.encode(row.location).decode(),
            "block": row.block,
            "state": row.state,
            "created_at": row.created_at,
        },
        pk="name",
    )


def set_cluster(db: Database, name: str, **changes: str) -> None:
    """Change `state` or `policy` of a cluster."""
    db.table("clusters").update(name, changes)


def forget_cluster(db: Database, name: str) -> None:
    """Remove a cluster that has no workers, and what was seen of it."""
    db.execute("UPDATE shares SET is_open = 0 WHERE cluster = ?", [name])
    db.execute("DELETE FROM sightings WHERE cluster = ?", [name])
    db.table("clusters").delete(name)


def lowest_free_block(db: Database) -> int:
    """The lowest index that no cluster has."""
    taken = {row.block for row in clusters(db)}
    return next(index for index in range(len(taken) + 1) if index not in taken)


def workers(db: Database) -> Sequence[WorkerRow]:
    """Every worker, by cluster and name."""
    rows = db.execute("SELECT body, state FROM workers ORDER BY cluster, name")
    return [
        WorkerRow(_without_consents(wire.decode(body, WorkerAdd)), state) for body, state in rows
    ]


def worker(db: Database, cluster: str, name: str) -> WorkerRow | None:
    """One worker."""
    found = (row for row in workers(db) if (row.cluster, row.name) == (cluster, name))
    return next(found, None)


def worker_and_host(db: Database, cluster: str, name: str) -> tuple[WorkerRow, HostView]:
    """One worker with its host; raises NotFound."""
    row = worker(db, cluster, name)
    if row is None:
        raise NotFound(f"there is no worker {cluster}/{name}", hint="oakctl worker ls")
    if not row.request.host:  # it joined by a token: its machine is its owner's
        return row, HostView(JOINED, "")
    return row, known_host(db, row.request.host)


def put_worker(db: Database, row: WorkerRow) -> None:
    """Store a worker, new or changed."""
    db.table("workers").upsert(
        {
            "cluster": row.cluster,
            "name": row.name,
            "host": row.request.host or None,
            "body": wire.encode(_without_consents(row.request)).decode(),
            "state": row.state,
        },
        pk=("cluster", "name"),
    )


def set_worker(db: Database, cluster: str, name: str, state: str) -> None:
    """Change the state of a worker."""
    db.table("workers").update((cluster, name), {"state": state})


def forget_worker(db: Database, cluster: str, name: str) -> None:
    """Remove a worker."""
    db.table("workers").delete((cluster, name))


def _without_consents(request: WorkerAdd) -> WorkerAdd:
    return replace(request, accept_new=False, allow_reboot=False)


def _location(body: str | None) -> Location | None:
    return None if body is None else wire.decode(body, Location)
