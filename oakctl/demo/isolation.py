"""Directories of the demonstration's own, and one demonstration at a time.

The operator's own root, labs and credentials lie elsewhere and are never touched. The cache is
shared: what is in it can be made again and is the same for all. Belongs here: directories and
the lock. Does not belong here: what happens in them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oakctl import paths
from oakctl.errors import Conflict


@contextmanager
def isolated() -> Iterator[Path]:
    """State and configuration in an empty place for a while; yields where logs may be kept.

    What an earlier, killed demonstration left there is still there, so that it can be cleared.
    Raises Conflict, with the process id, when another one runs.
    """
    home = paths.private_directory(paths.state_directory() / "demo")
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock)
        own = {
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(paths.cache_directory().parent),
        }
        with _environment(own):
            yield home / "logs"
    finally:
        os.close(lock)


def forget() -> None:
    """Take away the state directory that `isolated` gave; inside of it only."""
    shutil.rmtree(paths.state_directory().parent, ignore_errors=True)
    shutil.rmtree(paths.config_directory().parent, ignore_errors=True)


def _take(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        raise Conflict(
            f"a demonstration is running already (pid {pid or 'unknown'})",
            hint=f"wait for it, or end it with `kill {pid}`",
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


@contextmanager
def _environment(own: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
