"""Telling those who wait that something changed.

A ring is never missed: one waits for a number higher than the one seen before looking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from oakctl.errors import DeadlineExceeded

LOOK_EVERY_S = 0.5  # what rings no bell, like the time, is seen this often


class Bell:
    """Rings for every change; waiters look for themselves what it was."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake everybody. From the event loop's own thread only."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, seen: int, timeout_s: float) -> int:
        """Return as soon as `count` is above `seen`, or after `timeout_s` seconds."""
        if self.count <= seen:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await asyncio.wait_for(future, timeout_s)
            except TimeoutError:
                self._waiting.discard(future)
        return self.count


async def until(
    bell: Bell, what: str, missing: Callable[[], str | None], timeout_s: float, hint: str = ""
) -> None:
    """Wait until `missing` says None; raises DeadlineExceeded with what it said last."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = bell.count
        reason = missing()
        if reason is None:
            return
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"waited {timeout_s:.0f} s for {what}: {reason}",
                hint=hint or "run the command again: it carries on",
            )
        await bell.wait(seen, LOOK_EVERY_S)
