"""Applications, services, and the instances wanted of them with where each was given.

Belongs here: rows and the counters that only ever grow (epochs, share revisions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlite_utils import Database

from oakctl.model import wire
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.delegation import Key, Phase, Row, Seat, ShareRow


@dataclass(frozen=True)
class ApplicationRow:
    """An application as it was applied."""

    name: str
    description: str
    created_at: float
    deleting: bool = False


@dataclass(frozen=True)
class ServiceRow:
    """`asked` is the spec as the descriptor has it, `spec` the one with its addresses."""

    wanted: int
    asked: ServiceSpec
    spec: ServiceSpec


def applications(db: Database) -> Sequence[ApplicationRow]:
    """Every application, by name."""
    rows = db.execute(
        "SELECT name, description, created_at, deleting FROM applications ORDER BY name"
    )
    return [ApplicationRow(name, text, at, bool(deleting)) for name, text, at, deleting in rows]


def application(db: Database, name: str) -> ApplicationRow | None:
    """One application."""
    return next((row for row in applications(db) if row.name == name), None)


def add_application(db: Database, row: ApplicationRow) -> None:
    """Store a new application."""
    db.table("applications").insert(
        {
            "name": row.name,
            "description": row.description,
            "created_at": row.created_at,
            "deleting": int(row.deleting),
        }
    )


def mark_deleting(db: Database, name: str) -> None:
    """The application is to go; it stays visible until every cluster has let go of it."""
    db.table("applications").update(name, {"deleting": 1})


def forget_application(db: Database, name: str) -> None:
    """Remove an application that has no services left."""
    db.table("applications").delete(name)


def services(db: Database, application: str | None = None) -> Sequence[ServiceRow]:
    """The services, of one application or of all, in the order of their descriptors."""
    rows = db.execute(
        "SELECT wanted, asked, spec FROM services WHERE ?1 IS NULL OR application = ?1 "
        "ORDER BY application, rowid",
        [application],
    )
    return [ServiceRow(wanted, _spec(asked), _spec(spec)) for wanted, asked, spec in rows]


@lru_cache(maxsize=8192)
def _spec(body: str) -> ServiceSpec:
    # Every pass of delegation reads all of them, and they do not change.
    return wire.decode(body, ServiceSpec)


def add_service(db: Database, row: ServiceRow) -> None:
    """Store a new service."""
    db.table("services").insert(
        {
            "job_name": row.spec.job_name,
            "application": row.spec.application,
            "wanted": row.wanted,
            "asked": wire.encode(row.asked).decode(),
            "spec": wire.encode(row.spec).decode(),
        }
    )


def set_wanted(db: Database, job_name: str, wanted: int) -> None:
    """How many instances are wanted."""
    db.table("services").update(job_name, {"wanted": wanted})


def forget_service(db: Database, job_name: str) -> None:
    """Remove a service that has no rows of instances left."""
    db.execute("UPDATE shares SET is_open = 0 WHERE job_name = ?", [job_name])
    db.table("services").delete(job_name)


def instances(db: Database, job_name: str | None = None) -> Sequence[Row]:
    """The rows of instances, of one service or of all."""
    rows = db.execute(
        "SELECT job_name, number, wanted, phase, epoch, cluster, since FROM instances "
        "WHERE ?1 IS NULL OR job_name = ?1 ORDER BY job_name, number",
        [job_name],
    )
    return [
        Row(job, number, bool(wanted), Phase(phase), epoch, cluster, since)
        for job, number, wanted, phase, epoch, cluster, since in rows
    ]


def instance(db: Database, key: Key) -> Row | None:
    """One row."""
    return next((row for row in instances(db, key[0]) if row.number == key[1]), None)


def put_instance(db: Database, row: Row) -> None:
    """Store a row, new or changed."""
    db.table("instances").upsert(
        {
            "job_name": row.job_name,
            "number": row.number,
            "wanted": int(row.wanted),
            "phase": row.phase.value,
            "epoch": row.epoch,
            "cluster": row.cluster,
            "since": row.since,
        },
        pk=("job_name", "number"),
    )


def forget_instance(db: Database, key: Key) -> None:
    """Remove a row; its epoch is kept."""
    db.table("instances").delete(key)


def next_epoch(db: Database, key: Key) -> int:
    """A higher epoch than any this instance number ever had."""
    found = db.execute(
        "SELECT epoch FROM epochs WHERE job_name = ? AND number = ?", list(key)
    ).fetchone()
    epoch = int(found[0]) + 1 if found else 1
    db.table("epochs").upsert(
        {"job_name": key[0], "number": key[1], "epoch": epoch}, pk=("job_name", "number")
    )
    return epoch


def shares(db: Database) -> Sequence[ShareRow]:
    """The revision of every share."""
    rows = db.execute("SELECT cluster, job_name, revision, is_open FROM shares")
    return [ShareRow(cluster, job, revision, bool(op)) for cluster, job, revision, op in rows]


def raise_share(db: Database, seat: Seat, *, above: int = 0) -> int:
    """The next revision of a cluster's share of a service: higher than any before, and `above`."""
    found = db.execute(
        "SELECT revision FROM shares WHERE cluster = ? AND job_name = ?", list(seat)
    ).fetchone()
    revision = max(int(found[0]) if found else 0, above) + 1
    db.table("shares").upsert(
        {"cluster": seat[0], "job_name": seat[1], "revision": revision, "is_open": 1},
        pk=("cluster", "job_name"),
    )
    return revision
