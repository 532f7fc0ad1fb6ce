"""A connection to a cluster's bus: TLS pinned to the cluster's CA, one credential, own inbox.

Belongs here: how every one of our processes connects, asks and is told that it was thrown out.
Does not belong here: what is said (`model.messages`), or the server's side (`cluster.bus_server`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.config import BusAccess

T = TypeVar("T")
log = logging.getLogger("oakctl.bus")

RECONNECT_WAIT_S = 0.25
REPEAT_S = 30  # a line equal to one that was logged is not logged again for this long
PING_INTERVAL_S = 5
CONNECT_TIMEOUT_S = 3


class _TlsEofNoise(logging.Filter):
    """asyncio complains of each closed TLS connection; that tells nobody anything."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "eof_received" not in record.getMessage()


class Repeats:
    """Says which lines are worth logging: each try to reconnect fails in the same words.

    Only lines that are still held back are remembered, so it does not grow.
    """

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def is_news(self, line: str, now: float) -> bool:
        """Whether no equal line was logged in the last `REPEAT_S` seconds before `now`."""
        self._logged = {old: at for old, at in self._logged.items() if now - at < REPEAT_S}
        if line in self._logged:
            return False
        self._logged[line] = now
        return True


def client_context(ca_file: str) -> ssl.SSLContext:
    """TLS 1.3, trusting the cluster's own CA and nothing else."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def connect(
    access: BusAccess,
    *,
    name: str,
    on_reconnected: Callable[[], Awaitable[None]] | None = None,
    on_disconnected: Callable[[], Awaitable[None]] | None = None,
    on_refused: Callable[[str], Awaitable[None]] | None = None,
    wait_s: float | None = None,
) -> Client:
    """A client that reconnects for ever, until it is refused or closed.

    The first connection is tried again until `wait_s` seconds are over (None: for ever).
    `on_refused` is called when the bus does not know us, or no longer (credential revoked):
    nats-py tries again for ever without a word. Raises OSError, TimeoutError or NatsError when
    `wait_s` ends.
    """
    logging.getLogger("asyncio").addFilter(_TlsEofNoise())
    loop = asyncio.get_running_loop()
    deadline = None if wait_s is None else loop.time() + wait_s
    repeats = Repeats()

    def say(level: int, line: str) -> None:
        if repeats.is_news(line, loop.time()):
            log.log(level, "%s", line)

    async def on_error(error: Exception) -> None:
        text = str(error)
        if "authorization violation" in text.lower() and on_refused is not None:
            await on_refused(text)
        else:
            say(logging.WARNING, f"bus: {type(error).__name__}: {text}")

    while True:
        try:
            connecting = nats.connect(
                access.url,
                name=name,
                user=access.user,
                password=Path(access.secret_file).read_text().strip(),
                tls=client_context(access.ca_file),
                tls_hostname=access.tls_hostname,
                inbox_prefix=subjects.inbox(access.user).encode(),
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT_S,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=2,
                connect_timeout=CONNECT_TIMEOUT_S,
                error_cb=on_error,
                reconnected_cb=on_reconnected,
                disconnected_cb=on_disconnected,
            )
            # nats-py ends the first connection by itself as little as a later one.
            left = None if deadline is None else max(0.0, deadline - loop.time())
            return await asyncio.wait_for(connecting, left)
        except (OSError, asyncio.TimeoutError, NatsError) as error:
            refused = "authorization violation" in str(error).lower()
            if refused or (deadline is not None and loop.time() >= deadline):
                raise
            say(logging.INFO, f"bus: {access.url} does not answer yet ({error})")
            await asyncio.sleep(RECONNECT_WAIT_S)


async def ask(client: Client, subject: str, message: Any, kind: type[T], *, timeout_s: float) -> T:
    """Send `message`, return the answer as a `kind`.

    Raises NatsError (no responder, timed out, disconnected) or wire.Malformed.
    """
    body = message if isinstance(message, bytes) else wire.encode(message)
    answer = await client.request(subject, body, timeout=timeout_s)
    return wire.decode(answer.data, kind)
