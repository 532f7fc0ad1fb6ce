"""The files between driver and relay: the desired table, the status, the pid file with its lock.

Belongs here: paths, atomic writing, the lock that says whether a relay lives. Imports the
standard library alone. Does not belong here: what the table means (`table`).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from pathlib import Path
from typing import Any


class RelayFiles:
    """Where driver and relay of one host meet.

    `<state>/overlay.json` is what shall be forwarded; beside the state directory,
    `run/relay-status.json` says what is and `run/relay.pid` who does it.
    """

    def __init__(self, state: Path) -> None:
        run = state.parent / "run"
        self.table = state / "overlay.json"
        self.status = run / "relay-status.json"
        self.pid = run / "relay.pid"


def write_json(path: Path, data: Any) -> None:
    """Replace the file at once: a reader sees the old one or the new one; mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(data, stream, separators=(",", ":"))
    temporary.replace(path)


class AnotherRelay(Exception):
    """A relay already serves this state directory."""


def claim(path: Path) -> int:
    """Write our process id into the pid file and hold its lock; the descriptor holds it.

    The lock goes with the process, however that ends, so a stale file is never believed and a
    reused process id never signalled. Raises AnotherRelay.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise AnotherRelay(f"another relay holds {path}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def living(path: Path) -> int | None:
    """The process id of the relay that holds the pid file, or None when none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def tell(path: Path) -> bool:
    """Have the relay read its table again; False when none runs (it reads when it starts)."""
    pid = living(path)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    return True
