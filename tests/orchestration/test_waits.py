"""Waiting for an event with a limit."""

from __future__ import annotations

import asyncio

import pytest

from oakctl.orchestration.waits import set_within


async def test_an_event_that_is_set_is_told_at_once_and_one_that_is_not_after_the_limit() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.01)
    event.set()
    assert await set_within(event, 3600)


async def test_an_event_ends_the_wait() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(set_within(event, 3600))
    await asyncio.sleep(0)
    event.set()
    assert await waiting


async def test_a_cancellation_in_the_same_turn_as_the_event_is_not_lost() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(set_within(event, 3600))
    for _ in range(3):
        await asyncio.sleep(0)
    event.set()
    await asyncio.sleep(0)  # the inner waiter is done, the outer not yet told
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
