"""Blocking calls in threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from oakctl.orchestration.worker.docker.calls import AT_ONCE, Calls
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from tests.worker.stage import until


async def test_a_call_has_a_deadline_and_raises_what_it_raised() -> None:
    calls, go = Calls(), threading.Event()
    assert await calls.run(lambda: 7, what="counting") == 7

    def fails() -> None:
        raise EngineRefused("no", 409)

    with pytest.raises(EngineRefused, match="no"):
        await calls.run(fails, what="asking")
    with pytest.raises(EngineAway, match=r"Docker does not answer \(waiting: 0 s\)"):
        await calls.run(go.wait, 30.0, what="waiting", deadline_s=0.05)
    waiting = asyncio.ensure_future(calls.run(go.wait, 30.0, what="waiting"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()


async def test_a_look_does_not_wait_for_what_is_long() -> None:
    calls, go, started = Calls(), threading.Event(), []

    def pull() -> None:
        started.append(1)
        go.wait(30)

    pulls = [
        asyncio.ensure_future(calls.run_long(pull, what="pulling", deadline_s=60.0))
        for _ in range(AT_ONCE + 1)
    ]
    await until(lambda: len(started) == AT_ONCE + 1, "all of them to be under way")
    assert await calls.run(lambda: 7, what="looking") == 7
    go.set()
    await asyncio.gather(*pulls)


async def test_only_so_many_calls_at_once() -> None:
    calls, go, started = Calls(), threading.Event(), []

    def work(number: int) -> int:
        started.append(number)
        go.wait(30)
        return number

    tasks = [asyncio.ensure_future(calls.run(work, n, what="working")) for n in range(8)]
    await until(lambda: len(started) == AT_ONCE, "the first calls")
    assert len(started) == AT_ONCE
    go.set()
    assert sorted(await asyncio.gather(*tasks)) == list(range(8))
