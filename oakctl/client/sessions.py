"""Sessions with instances, from the side of a client: `async with client.sessions.open(…)`.

Belongs here: the WebSocket to the root, and its errors as OakError. Does not belong here:
terminals and files (`oakctl.cli`, `client.copying`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from oakctl.client.connection import error_of
from oakctl.errors import OakError, Unreachable
from oakctl.model import sessions, wire
from oakctl.model.sessions import Broken, Closed, Data, Ended, Event, Resized, SessionRequest

OPEN_TIMEOUT_S = 40.0  # more than the root waits for the cluster
CLOSE_TIMEOUT_S = 2.0
_FAILURES = (WebSocketException, OSError, TimeoutError)


class ClientSession:
    """A session that is open; every method raises Unreachable when the root is gone."""

    def __init__(self, socket: ClientConnection, where: Path) -> None:
        self._socket = socket
        self._where = where

    async def read(self) -> Event:
        """The next from the instance's side; the last one is `Ended`."""
        try:
            return sessions.decode_event(await self._socket.recv(decode=False))
        except _FAILURES as error:
            raise _gone(self._where, error) from error
        except Broken as error:
            raise OakError(f"the root sent {error}", hint="oakctl version") from error

    async def write(self, data: bytes) -> None:
        """Input, as fast as it is taken."""
        for start in range(0, len(data), sessions.PIECE):
            await self._tell(Data(sessions.STDIN, data[start : start + sessions.PIECE]))

    async def close_input(self) -> None:
        """No more input comes; output goes on."""
        await self._tell(Closed(sessions.STDIN))

    async def resize(self, rows: int, columns: int) -> None:
        """The terminal has this size now."""
        await self._tell(Resized(rows, columns))

    async def _tell(self, event: Event) -> None:
        try:
            await self._socket.send(sessions.encode_event(event))
        except _FAILURES as error:
            raise _gone(self._where, error) from error


class SessionsClient:
    """Opens sessions at the root behind `socket`."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @asynccontextmanager
    async def open(self, request: SessionRequest) -> AsyncIterator[ClientSession]:
        """A session for the length of a block; what still runs in it ends with the block.

        Raises the OakError that the root answered, or Unreachable.
        """
        try:
            connected = await unix_connect(
                str(self._socket),
                "ws://root/v1/sessions",
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=4 * sessions.PIECE,
                max_queue=4,
            )
        except _FAILURES as error:
            raise Unreachable(
                f"no root answers at {self._socket} ({error})", hint="oakctl serve"
            ) from error
        async with connected:
            try:
                await connected.send(wire.encode(request).decode(), text=True)
                answer = json.loads(await connected.recv())
            except _FAILURES as error:
                raise _gone(self._socket, error) from error
            if not answer.get("opened"):
                raise error_of(answer)
            yield ClientSession(connected, self._socket)


def failed(last: Ended) -> OakError:
    """What a session ended with, as an error."""
    return OakError(last.error or f"it ended with {last.code}", hint=last.hint)


def _gone(where: Path, error: BaseException) -> Unreachable:
    cause = str(error) or type(error).__name__
    return Unreachable(f"the root at {where} broke off ({cause})", hint="oakctl status")
