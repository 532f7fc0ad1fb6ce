"""A port on a host, brought to this machine through SSH and kept there.

The local port is fixed for the life of the tunnel, so that whoever is connected through it
reconnects by itself. Does not belong here: what is said through it (`orchestration.root.links`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import asyncssh

from oakctl.errors import OakError
from oakctl.remote.target import Target, open_asyncssh

BACKOFF_S = 0.2
BACKOFF_MAX_S = 5.0
log = logging.getLogger("oakctl.tunnel")


class Tunnel:
    """Listens on 127.0.0.1:`local_port` and leads to `host`:`port` as seen from the target.

    Connections made while SSH is away are closed at once; it is tried again for ever, with
    pauses from 0.2 to 5 seconds.
    """

    def __init__(self, target: Target, host: str, port: int) -> None:
        self._target, self._host, self._port = target, host, port
        self._connections: tuple[asyncssh.SSHClientConnection, ...] = ()
        self._server: asyncio.Server | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self.connected = False
        self.last_error = ""
        self.local_port = 0

    async def start(self) -> None:
        """Listen, and begin to connect; returns before SSH is up."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.local_port = int(self._server.sockets[0].getsockname()[1])
        self._keeper = asyncio.create_task(self._keep(), name=f"tunnel {self._target.name}")

    async def close(self) -> None:
        """End the tunnel and everything in it."""
        if self._server is not None:
            self._server.close()
        tasks = [task for task in (self._keeper, *self._pipes) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop()

    async def _keep(self) -> None:
        pause = BACKOFF_S
        while True:
            try:
                self._connections = await open_asyncssh(self._target)
                self.connected, self.last_error, pause = True, "", BACKOFF_S
                await self._connections[-1].wait_closed()
                self.last_error = f"{self._target.name}: the SSH connection was closed"
            except OakError as error:
                self.last_error = error.message
            finally:
                self._drop()
            log.info("tunnel: %s; again in %.1f s", self.last_error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MAX_S)

    def _drop(self) -> None:
        self.connected = False
        for connection in reversed(self._connections):
            connection.abort()
        self._connections = ()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
        try:
            await self._carry(reader, writer)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._connections:
            return
        try:
            far_reader, far_writer = await self._connections[-1].open_connection(
                self._host, self._port, encoding=None
            )
        except (asyncssh.Error, OSError) as error:
            self.last_error = (
                f"{self._target.name}: {self._host}:{self._port} does not take connections: {error}"
            )
            return
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.close()


async def _copy(
    source: asyncio.StreamReader | asyncssh.SSHReader[bytes],
    sink: asyncio.StreamWriter | asyncssh.SSHWriter[bytes],
) -> None:
    """Bytes one way until the end; the end is passed on."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(OSError, asyncssh.Error, RuntimeError):
        sink.write_eof()
