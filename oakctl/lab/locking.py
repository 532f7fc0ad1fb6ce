"""One change to the labs of a state directory at a time.

Belongs here: the lock, which leaves nothing behind. Does not belong here: what is changed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oakctl import paths
from oakctl.errors import Conflict

LOCK_WAIT_S = 60.0
STEP_S = 0.05


@asynccontextmanager
async def lock() -> AsyncIterator[None]:
    """Hold the lock of all labs; it is on their directory. Raises Conflict after LOCK_WAIT_S."""
    directory = paths.private_directory(paths.labs_directory())
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try(descriptor):
            if time.monotonic() > deadline:
                raise Conflict(
                    f"another oakctl is at work on the labs in {directory}",
                    hint=f"wait for it, or find it with `fuser {directory}`",
                )
            await asyncio.sleep(STEP_S)
        yield
    finally:
        os.close(descriptor)


def remove_if_empty(*directories: Path) -> None:
    """Remove those of `directories` that hold nothing."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:  # something else is in it
            continue


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
