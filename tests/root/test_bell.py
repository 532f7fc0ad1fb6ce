"""Bells: no ring and no cancellation is missed."""

from __future__ import annotations

import asyncio

import pytest

from oakctl.errors import DeadlineExceeded
from oakctl.orchestration.root.bell import Bell, until


async def test_a_cancellation_that_comes_with_a_ring_is_not_forgotten() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(bell.count, 60.0))
    await asyncio.sleep(0)  # it waits now
    bell.ring()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_ring_wakes_and_time_ends_the_wait() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(bell.count, 60.0))
    await asyncio.sleep(0)
    bell.ring()
    assert await task == 1
    assert await bell.wait(1, 0.0) == 1
    assert await bell.wait(0, 60.0) == 1


async def test_what_was_waited_for_is_said() -> None:
    bell, reasons = Bell(), ["it sleeps", None]
    with pytest.raises(DeadlineExceeded, match="waited 0 s for the cat: it sleeps"):
        await until(bell, "the cat", lambda: reasons[0], 0.0)
    await until(bell, "the cat", lambda: reasons[1], 0.0)
