"""Streams of JSON lines that end: at the latest after a minute the client asks again.

Nothing is queued for a reader: each line is read from the store when the reader takes it, so a
slow reader costs no memory and misses nothing. An empty line tells that the root is alive.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from fastapi.responses import StreamingResponse

from oakctl.api.errors import body_of
from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.root import Root
from oakctl.orchestration.root.store import events, operations

STREAM_S = 60.0
SILENCE_S = 5.0
BATCH = 500

Line = dict[str, Any]


def response(lines: AsyncIterator[Line]) -> StreamingResponse:
    """Lines as they come; an OakError becomes the last line."""

    async def body() -> AsyncIterator[bytes]:
        try:
            async for line in lines:
                yield (json.dumps(line) + "\n").encode() if line else b"\n"
        except OakError as error:
            yield (json.dumps(body_of(error)) + "\n").encode()

    return StreamingResponse(body(), media_type="application/x-ndjson")


async def event_lines(root: Root, after: int, limit: int) -> AsyncIterator[Line]:
    """Up to `limit` stored events after an id."""
    while limit > 0:
        size = min(limit, BATCH)
        found = await root.store.run(partial(events.after, id=after, limit=size))
        for event in found:
            yield wire.to_plain(event)
        if len(found) < size:
            return
        after, limit = found[-1].id, limit - len(found)


async def following_events(root: Root, after: int) -> AsyncIterator[Line]:
    """Stored events after an id, and those that come, for a minute."""
    deadline = time.monotonic() + STREAM_S
    if after < 0:
        newest = await root.store.run(events.newest_id)
        after = max(0, newest + after)
    yield {"after": after}
    told = time.monotonic()
    while not root.closing and time.monotonic() < deadline:
        seen = root.bell.count
        found = await root.store.run(partial(events.after, id=after, limit=BATCH))
        for event in found:
            yield wire.to_plain(event)
        if found:
            after, told = found[-1].id, time.monotonic()
            continue
        await root.bell.wait(seen, SILENCE_S)
        if time.monotonic() - told >= SILENCE_S:  # however often the bell rang for other things
            told = time.monotonic()
            yield {}


async def operation_steps(root: Root, id: int, after: int) -> AsyncIterator[Line]:
    """The steps of an operation from number `after`; `{"ended": true}` when it has ended."""
    told = time.monotonic()
    deadline = told + STREAM_S
    while not root.closing and time.monotonic() < deadline:
        seen = root.bell.count
        state = (await root.operation(id)).state
        found = await root.store.run(partial(operations.steps, operation=id, after=after))
        for step in found:
            yield wire.to_plain(step)
        after += len(found)
        if state != "running":
            yield {"ended": True}
            return
        if found:
            told = time.monotonic()
            continue
        await root.bell.wait(seen, SILENCE_S)
        if time.monotonic() - told >= SILENCE_S:
            told = time.monotonic()
            yield {}


async def log_lines(root: Root, name: str, offset: int, follow: bool) -> AsyncIterator[Line]:
    """Pieces of an instance's log, for a minute when it is followed."""
    deadline = time.monotonic() + STREAM_S
    async for answer in root.logs(name, offset, follow):
        yield {
            "data": answer.data,
            "next_offset": answer.next_offset,
            "ended": answer.ended or not (follow or answer.data),
        }
        if time.monotonic() >= deadline:
            return


async def image_lines(root: Root, link: Link, name: str) -> AsyncIterator[Line]:
    """How far an image is on its way to a cluster; the last line says that it is there."""
    async with aclosing(root.images.send(link, name)) as told:
        async for progress in told:
            yield wire.to_plain(progress)
