"""Reading and writing pipes, terminals and sockets without blocking the agent.

Belongs here: one descriptor at a time, as bytes. Files on a disk never wait and cannot be polled:
they do not belong here.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable

from oakctl.model.sessions import PIECE


async def read(descriptor: int) -> bytes:
    """What is there, at least a byte; empty at the end. The descriptor has to be non-blocking."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(descriptor, PIECE)
        except BlockingIOError:
            await _ready(loop.add_reader, loop.remove_reader, descriptor)
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal that nobody has open any more
                return b""
            raise


async def write(descriptor: int, data: bytes) -> None:
    """All of it; raises OSError, BrokenPipeError when nobody reads any more."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _ready(loop.add_writer, loop.remove_writer, descriptor)


async def copy(descriptor: int, write_on: Callable[[bytes], Awaitable[None]]) -> None:
    """Everything from a descriptor, to its end."""
    while data := await read(descriptor):
        await write_on(data)


async def _ready(
    add: Callable[..., None], remove: Callable[[int], object], descriptor: int
) -> None:
    ready = asyncio.Event()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
