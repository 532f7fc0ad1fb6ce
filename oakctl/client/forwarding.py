"""Connections to this machine that lead to instances of a service, each a session.

Belongs here: choosing an instance, and carrying one connection, each direction with its own end.
Does not belong here: listening, and words for people (`oakctl.cli`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from oakctl.client.sessions import ClientSession, failed
from oakctl.errors import Conflict, OakError
from oakctl.model.instance import InstanceState
from oakctl.model.sessions import FORWARD, PIECE, Closed, Data, Ended, SessionRequest

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

READY_WAIT_S = 10.0  # an instance may be on its way, or the root that knows of it
LOOK_S = 0.2


class Forwarding:
    """Connections to one port of a service; `told` hears of each that failed."""

    def __init__(
        self, client: RootClient, service: str, port: int, told: Callable[[OakError], None]
    ) -> None:
        self._client = client
        self._service = service
        self._port = port
        self._told = told
        self._turn = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            instance = await self._instance()
            request = SessionRequest(instance, FORWARD, port=self._port, stdin=True)
            async with self._client.sessions.open(request) as session:
                await _carry(session, reader, writer)
        except OakError as error:
            self._told(error)
            _reset(writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)  # who connected is gone, or we are ending
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Break off all connections."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _instance(self) -> str:
        """A ready one, the next in turn; raises Conflict when there is none."""
        deadline = time.monotonic() + READY_WAIT_S
        while True:
            found = await self._client.instances(self._service)
            ready = [v.name for v in found if v.ready and v.state is InstanceState.RUNNING]
            if ready:
                return ready[next(self._turn) % len(ready)]
            if time.monotonic() >= deadline:
                raise Conflict(
                    f"no instance of {self._service} is ready",
                    hint=f"oakctl explain {self._service}",
                )
            await asyncio.sleep(LOOK_S)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break off, so that nobody takes it for the end of what was sent."""
    now = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    writer.transport.abort()


async def _carry(
    session: ClientSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    inward = asyncio.create_task(_inward(session, reader))
    try:
        while not isinstance(event := await session.read(), Ended):
            if isinstance(event, Data):
                writer.write(event.data)
                await writer.drain()
            elif isinstance(event, Closed):
                with contextlib.suppress(OSError):
                    writer.write_eof()
        if event.code or event.error:
            raise failed(event)
    finally:
        inward.cancel()
        await asyncio.gather(inward, return_exceptions=True)


async def _inward(session: ClientSession, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(PIECE):
        await session.write(data)
    await session.close_input()
