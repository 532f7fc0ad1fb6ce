"""A local port that leads to a port on a host, for ever.

Belongs here: connecting by asyncssh and keeping it up. Does not belong here: what is spoken in
the tunnel, and work on hosts (`connection`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import asyncssh

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.remote.identity import Identity
from oakctl.remote.route import route
from oakctl.remote.target import Target

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
STEADY_S = 10.0  # up for so long: the next failure is a new one
CLOSE_DEADLINE_S = 2.0
CHUNK = 65536  # bytes
TOO_MANY = "Too many authentication failures"  # OpenSSH's reason for hanging up


class _Client(asyncssh.SSHClient):
    """Asks the target about the host's key, and keeps the answer: asyncssh says "not trusted"."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.refusal: OakError | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        try:
            self._target.admit(key)
        except OakError as error:
            self.refusal = error
            return False
        return True


async def _dial(
    target: Target, through: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    client = _Client(target)
    found = await asyncio.to_thread(target.identity)
    try:
        async with _key_pairs(found) as keys:
            options = target.asyncssh_options(lambda: client, keys)
            if through is not None:
                options |= {"tunnel": through, "proxy_command": None}
            return await asyncssh.connect(**options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise client.refusal or target.no_answer(error) from error
    except asyncssh.PermissionDenied as error:
        raise target.refused(error.reason, found) from error
    except asyncssh.ChannelOpenError as error:
        raise Unreachable(
            f"{target.name}: {target.where} is not reached from the jump host: {error.reason}"
        ) from error
    except asyncssh.ProtocolError as error:
        if TOO_MANY in error.reason:
            raise target.too_many_keys() from error
        raise target.no_answer(error) from error
    except (OSError, asyncssh.Error) as error:
        raise target.no_answer(error) from error


@contextlib.asynccontextmanager
async def _key_pairs(found: Identity) -> AsyncIterator[list[asyncssh.SSHKeyPair]]:
    """The keys in their order; the agent is there to sign for as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        held: dict[bytes, asyncssh.SSHKeyPair] = {}
        if found.agent and any(offer.file is None for offer in found.offers):
            agent = await stack.enter_async_context(asyncssh.connect_agent(found.agent))
            held = {pair.public_data: pair for pair in await agent.get_keys()}
        pairs: list[asyncssh.SSHKeyPair] = []
        for offer in found.offers:
            if offer.file is not None:
                with contextlib.suppress(OSError, ValueError, asyncssh.KeyEncryptionError):
                    # It is another file than a moment ago, if this fails.
                    pairs += asyncssh.load_keypairs(str(offer.file), offer.passphrase or None)
            elif offer.blob in held:
                pairs.append(held[offer.blob])
        yield pairs


@contextlib.asynccontextmanager
async def connect(target: Target) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to `target` through its jump hosts, each checked as strictly as the target.

    Raises Unreachable, in words, when one of them cannot be reached or is not believed.
    """
    async with contextlib.AsyncExitStack() as stack:
        first, *others = await asyncio.to_thread(route, target)
        connection = await stack.enter_async_context(dialled(first, None))
        for machine in others:
            connection = await stack.enter_async_context(dialled(machine, connection))
        yield connection


@contextlib.asynccontextmanager
async def dialled(
    machine: Target, through: asyncssh.SSHClientConnection | None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to one machine of a route, through the one before it. Raises Unreachable."""
    connection = await _dial(machine, through)
    try:
        yield connection
    finally:
        await _hang_up(connection)


async def _hang_up(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        await asyncio.wait_for(connection.wait_closed(), CLOSE_DEADLINE_S)
    except asyncio.TimeoutError:
        connection.abort()  # a dead peer never says goodbye


def next_delay(delay_s: float, up_s: float) -> float:
    """Seconds to wait before the next try, after a connection that was up for `up_s`."""
    return FIRST_DELAY_S if up_s >= STEADY_S else min(delay_s * 2, LONGEST_DELAY_S)


class Tunnel:
    """`local_port` on 127.0.0.1 leads to `host`:`port`, as seen from the target.

    The port is taken once and kept until `close`. While the host is away, connections to it are
    accepted and closed at once, and `last_error` says why.
    """

    def __init__(self, target: Target, host: str, port: int) -> None:
        self._target = target
        self._host = host
        self._port = port
        self._connection: asyncssh.SSHClientConnection | None = None
        self._server: asyncio.Server | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self.local_port = 0
        self.last_error = ""

    @property
    def connected(self) -> bool:
        """Whether the SSH connection stands."""
        return self._connection is not None

    async def start(self) -> None:
        """Take the local port and begin to connect; returns before the host has answered."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.local_port = self._server.sockets[0].getsockname()[1]
        self._keeper = asyncio.create_task(self._keep(), name=f"tunnel to {self._target.name}")

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once the SSH connection stands; raises DeadlineExceeded with the last error."""
        try:
            await asyncio.wait_for(self._up.wait(), timeout_s)
        except asyncio.TimeoutError:
            raise DeadlineExceeded(
                f"{self._target.name}: no SSH connection within {timeout_s:g} s",
                details=(self.last_error,) if self.last_error else (),
            ) from None

    async def close(self) -> None:
        """Give the port and the connection up. Leaves no task; twice is fine."""
        if self._server is not None:
            self._server.close()
        tasks = [*self._carriers, *([self._keeper] if self._keeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = self._keeper = None

    async def _far(
        self, connection: asyncssh.SSHClientConnection
    ) -> tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]:
        """A way to the port, as the target sees it."""
        return await connection.open_connection(self._host, self._port)

    async def _keep(self) -> None:
        delay_s = FIRST_DELAY_S
        while True:
            began = time.monotonic()
            up_s = 0.0
            try:
                async with connect(self._target) as connection:
                    began = time.monotonic()
                    self._connection, self.last_error = connection, ""
                    self._up.set()
                    await connection.wait_closed()
                    up_s = time.monotonic() - began
                self._failed("the connection was lost")
            except OakError as error:
                self._failed(error.message)
            finally:
                self._connection = None
                self._up.clear()
            await asyncio.sleep(delay_s)
            delay_s = next_delay(delay_s, up_s)

    def _failed(self, reason: str) -> None:
        if reason != self.last_error:
            log.warning("tunnel to %s: %s", self._target.name, reason)
        self.last_error = reason

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one that asyncio makes for a coroutine is reported as a fault by
        # Python 3.11 when it is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._carriers.add(task)
        task.add_done_callback(self._carriers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            far_reader, far_writer = await self._far(connection)
        except (OSError, asyncssh.Error) as error:
            self.last_error = f"{self._host}:{self._port} is not reached from there: {error}"
            return
        ways = [
            asyncio.create_task(_copy(reader, far_writer)),
            asyncio.create_task(_copy(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for way in ways:
                way.cancel()
            # When one side is gone there is nobody to tell: both are closed.
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.close()


async def _copy(
    source: asyncio.StreamReader | asyncssh.SSHReader[bytes],
    sink: asyncio.StreamWriter | asyncssh.SSHWriter[bytes],
) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
