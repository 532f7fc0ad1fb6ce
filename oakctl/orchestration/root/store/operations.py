"""Work on hosts: what was begun, its steps, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

from oakctl.errors import ExitCode, OakError
from oakctl.model import wire
from oakctl.model.views import OperationView, StepEvent

COLUMNS = "id, kind, subject, state, started_at, ended_at, error, hint, exit_code, details"


def begin(db: Database, kind: str, subject: str, now: float) -> OperationView:
    """Store that work was begun."""
    row = {"kind": kind, "subject": subject, "state": "running", "started_at": now}
    id = db.execute(
        "INSERT INTO operations (kind, subject, state, started_at) "
        "VALUES (:kind, :subject, :state, :started_at) RETURNING id",
        row,
    ).fetchall()[0][0]
    return OperationView(int(id), kind, subject, "running", now)


def add_step(db: Database, operation: int, step: StepEvent) -> None:
    """Append one line of progress."""
    number = count_steps(db, operation)
    db.table("operation_steps").insert(
        {"operation": operation, "number": number, "body": wire.encode(step).decode()}
    )


def finish(db: Database, operation: int, now: float, error: OakError | None) -> None:
    """Store how it ended."""
    changes: dict[str, Any] = {"state": "done", "ended_at": now}
    if error is not None:
        changes = {
            "state": "failed",
            "ended_at": now,
            "error": error.message,
            "hint": error.hint,
            "exit_code": int(error.exit_code),
            "details": wire.encode(list(error.details)).decode(),
        }
    db.table("operations").update(operation, changes)


def all_of(db: Database, limit: int = 200) -> Sequence[OperationView]:
    """The newest operations first, without steps."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM operations ORDER BY id DESC LIMIT ?",  # noqa: S608
        [limit],
    )
    return [_view(row) for row in rows]


def one(db: Database, operation: int) -> OperationView | None:
    """One operation, with its steps."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM operations WHERE id = ?",  # noqa: S608
        [operation],
    ).fetchone()
    return None if row is None else _view(row, tuple(steps(db, operation, 0)))


def steps(db: Database, operation: int, after: int) -> Sequence[StepEvent]:
    """The steps from number `after` on."""
    rows = db.execute(
        "SELECT body FROM operation_steps WHERE operation = ? AND number >= ? ORDER BY number",
        [operation, after],
    )
    return [wire.decode(body, StepEvent) for (body,) in rows]


def count_steps(db: Database, operation: int) -> int:
    """How many steps there are."""
    count = db.execute(
        "SELECT count(*) FROM operation_steps WHERE operation = ?", [operation]
    ).fetchone()
    return int(count[0])


def running(db: Database) -> Sequence[OperationView]:
    """Those that have not ended; after a start of the root these were interrupted."""
    rows = db.execute(f"SELECT {COLUMNS} FROM operations WHERE state = 'running'")  # noqa: S608
    return [_view(row) for row in rows]


def _view(row: Sequence[Any], found: tuple[StepEvent, ...] = ()) -> OperationView:
    id, kind, subject, state, started_at, ended_at, error, hint, exit_code, details = row
    return OperationView(
        id,
        kind,
        subject,
        state,
        started_at,
        ended_at=ended_at or 0.0,
        error=error or "",
        hint=hint or "",
        exit_code=exit_code or ExitCode.DONE,
        details=wire.decode(details, tuple[str, ...]) if details else (),
        steps=found,
    )
