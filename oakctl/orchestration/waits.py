"""Waiting for an event with a limit, so that a cancellation is never lost.

Belongs here: what loops of the agent and the orchestrator wait with. Does not belong here: what
they do next.
"""

from __future__ import annotations

import asyncio


async def set_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether `event` is set before `timeout_s` seconds are over; returns as soon as it is.

    Not `asyncio.wait_for`: before Python 3.12 it forgets a cancellation that comes in the same
    turn of the loop as the event, and a loop that is told once to end would go on for ever.
    """
    # Also when it is set already: others get a turn, whoever sets it all the time.
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([waiting], timeout=timeout_s)
    finally:
        waiting.cancel()
    return event.is_set()
