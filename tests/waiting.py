"""Waiting for the thing itself, with a generous deadline that says what it waited for.

The one place of tests that polls; `until` within an event loop, `until_now` without one.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_S = 90.0
STEP_S = 0.05  # between two looks


async def until(
    what: str,
    look: Callable[[], T | Awaitable[T]],
    holds: Callable[[T], object] = bool,
    *,
    wait_s: float = WAIT_S,
    step_s: float = STEP_S,
) -> T:
    """What `look` gives as soon as it `holds`; fails naming `what` and the last look."""
    deadline = time.monotonic() + wait_s
    while True:
        found = look()
        last: T = await found if inspect.isawaitable(found) else found
        if holds(last):
            return last
        assert time.monotonic() < deadline, f"waited {wait_s:.0f} s for {what}; last: {last!r}"
        await asyncio.sleep(step_s)


def until_now(
    what: str,
    look: Callable[[], T],
    holds: Callable[[T], object] = bool,
    *,
    wait_s: float = WAIT_S,
    step_s: float = STEP_S,
) -> T:
    """What `look` gives as soon as it `holds`; fails naming `what` and the last look."""
    deadline = time.monotonic() + wait_s
    while not holds(last := look()):
        assert time.monotonic() < deadline, f"waited {wait_s:.0f} s for {what}; last: {last!r}"
        time.sleep(step_s)
    return last
