"""The append-only timeline."""

from __future__ import annotations

from collections.abc import Sequence

from sqlite_utils import Database

from oakctl.model.events import Event
from oakctl.model.messages import ClusterEvent

COLUMNS = "id, at, kind, subject, message, reason, cluster"


def append(
    db: Database,
    at: float,
    kind: str,
    subject: str,
    message: str,
    *,
    reason: str = "",
    cluster: str = "",
) -> None:
    """One event that the root itself saw."""
    db.table("events").insert(
        {
            "at": at,
            "kind": kind,
            "subject": subject,
            "message": message,
            "reason": reason,
            "cluster": cluster,
        }
    )


def append_of_cluster(db: Database, event: ClusterEvent) -> bool:
    """An event that a cluster saw; False when it was stored before (it was sent again)."""
    known = db.execute("SELECT 1 FROM events WHERE event_id = ?", [event.event_id]).fetchone()
    if known:
        return False
    db.table("events").insert(
        {
            "at": event.at,
            "kind": event.kind,
            "subject": event.subject,
            "message": event.message,
            "reason": event.reason,
            "cluster": event.cluster,
            "event_id": event.event_id,
        }
    )
    return True


def after(db: Database, id: int, limit: int) -> Sequence[Event]:
    """Up to `limit` events with a higher id, oldest first; `id` < 0: the last `-id`."""
    if id < 0:
        newest = db.execute("SELECT max(id) FROM events").fetchone()[0] or 0
        id = max(0, newest + id)
    rows = db.execute(
        f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
        [id, limit],
    )
    return [Event(*row) for row in rows]


def about(db: Database, subject: str, limit: int) -> Sequence[Event]:
    """The last `limit` events with this subject, oldest first."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM events WHERE subject = ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        [subject, limit],
    )
    return [Event(*row) for row in rows][::-1]


def newest_id(db: Database) -> int:
    """The id of the last event; 0 when there is none."""
    return int(db.execute("SELECT max(id) FROM events").fetchone()[0] or 0)
