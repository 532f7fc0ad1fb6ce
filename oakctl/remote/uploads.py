"""Large uploads wait for each other, so that many hosts do not share one thin uplink.

Belongs here: the turns, over all hosts of this process. Does not belong here: sending
(`connection`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from oakctl.remote.step import Cancelled

LARGE = 1 << 20  # bytes: an upload of this size or more waits for its turn
AT_ONCE = 4
LOOK_EVERY_S = 0.5

_turns = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def turn(size: int, closed: threading.Event, what: str) -> Iterator[None]:
    """Wait for a turn to send `size` bytes; raises Cancelled, naming `what`, once `closed`."""
    if size < LARGE:
        yield
        return
    while not _turns.acquire(timeout=LOOK_EVERY_S):
        if closed.is_set():
            raise Cancelled(f"{what}: stopped before it was its turn")
    try:
        yield
    finally:
        _turns.release()
