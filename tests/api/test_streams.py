"""A stream says that the root is alive, however busy the root is with other things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from oakctl.api import streams
from oakctl.orchestration.root.bell import Bell


class Busy:
    """A root whose bell rings all the time, and whose store has nothing new."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.closing = False
        self.store = SimpleNamespace(run=self._nothing)

    async def _nothing(self, work: object) -> list[object]:
        return []

    async def operation(self, id: int) -> object:
        return SimpleNamespace(state="running")

    async def ring(self) -> None:
        while True:
            await asyncio.sleep(0.002)
            self.bell.ring()


async def first_empty(lines: AsyncIterator[dict[str, Any]]) -> None:
    async for line in lines:
        if not line:
            return


@pytest.mark.parametrize(
    "lines",
    [
        lambda root: streams.operation_steps(root, 1, 0),
        lambda root: streams.following_events(root, 0),
    ],
)
async def test_a_busy_root_is_alive(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SILENCE_S", 0.02)
    root = Busy()
    ringing = asyncio.create_task(root.ring())
    try:
        async with asyncio.timeout(20):
            await first_empty(lines(root))
    finally:
        ringing.cancel()
