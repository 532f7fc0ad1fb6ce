"""Telling those who wait that something changed.

A ring is never missed: one waits for a number higher than the one seen before looking.
"""

from __future__ import annotations

import asyncio


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
