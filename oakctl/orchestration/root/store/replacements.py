"""Instances that are to be replaced, and why the last replacing of a service ended early.

Belongs here: rows. Does not belong here: when the next step is due (`root.replacing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from oakctl.orchestration.root.delegation import Key


@dataclass(frozen=True)
class Replacement:
    """Instance `old` is to go when `new` is ready; `new` None: not begun. `since` is when it
    began, or was asked for. `cluster` and `worker` are where to, empty for anywhere."""

    job_name: str
    old: int
    new: int | None = None
    cluster: str = ""
    worker: str = ""
    since: float = 0.0


def all_of(db: Database, job_name: str | None = None) -> Sequence[Replacement]:
    """Of one service or of all, in the order in which they are made."""
    rows = db.execute(
        "SELECT job_name, old, new, cluster, worker, since FROM replacements "
        "WHERE ?1 IS NULL OR job_name = ?1 ORDER BY id",
        [job_name],
    )
    return [Replacement(*row) for row in rows]


def targets(db: Database) -> Mapping[Key, tuple[str, str]]:
    """Where replacements that have begun are to go: cluster, worker."""
    return {
        (each.job_name, each.new): (each.cluster, each.worker)
        for each in all_of(db)
        if each.new is not None and each.cluster
    }


def add(db: Database, asked: Replacement) -> None:
    """Store a new one."""
    db.table("replacements").insert(
        {
            "job_name": asked.job_name,
            "old": asked.old,
            "new": asked.new,
            "cluster": asked.cluster,
            "worker": asked.worker,
            "since": asked.since,
        }
    )


def begin(db: Database, job_name: str, old: int, new: int, now: float) -> None:
    """Its new instance is wanted from now on."""
    db.execute(
        "UPDATE replacements SET new = ?, since = ? WHERE job_name = ? AND old = ?",
        [new, now, job_name, old],
    )


def forget(db: Database, job_name: str, old: int | None = None) -> None:
    """One of a service's, or all of them."""
    db.execute(
        "DELETE FROM replacements WHERE job_name = ?1 AND (?2 IS NULL OR old = ?2)",
        [job_name, old],
    )


def halts(db: Database) -> Mapping[str, str]:
    """Service → why the last replacing of its instances was given up."""
    return dict(iter(db.execute("SELECT job_name, reason FROM halts")))


def put_halt(db: Database, job_name: str, reason: str) -> None:
    """It was given up; empty: it is of no account any more."""
    if reason:
        db.table("halts").upsert({"job_name": job_name, "reason": reason}, pk="job_name")
    else:
        db.execute("DELETE FROM halts WHERE job_name = ?", [job_name])
