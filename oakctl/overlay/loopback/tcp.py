"""Connections: accept at a service's address, carry to an instance, byte for byte.

Each direction holds at most one piece that the receiver has not taken yet, so a slow reader
slows its sender down; an end of one direction is passed on and the other goes on. Does not
belong here: which target (`table`), datagrams (`udp`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import Counter

from oakctl.overlay.loopback.table import Endpoint, Listener, Turns

log = logging.getLogger("oakctl.relay")

PIECE = 65536  # bytes read at once
CONNECT_TIMEOUT_S = 3.0
ACCEPT_PAUSE_S = 0.2  # when there are no descriptors left
ACCEPTED_AT_ONCE = 32
BACKLOG = 512
# Linux: choose the local port when connecting, so that it has to be unique per target only.
IP_BIND_ADDRESS_NO_PORT = 24


class TcpListener:
    """One service address and port. It listens only while there is a target: a client of a
    service without one is refused at once instead of being left to wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener, source: str) -> None:
        self.listener = listener
        self.error = ""
        self.total = 0
        self._loop = loop
        self._source = source
        self._turns = Turns()
        self._socket: socket.socket | None = None
        self._flows: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self.retry()

    @property
    def listening(self) -> bool:
        """Whether clients can connect."""
        return self._socket is not None

    def active(self) -> Counter[Endpoint]:
        """Connections to each target now."""
        return Counter(flow.endpoint for flow in self._flows)

    def change(self, listener: Listener) -> None:
        """Follow new targets; connections to targets that left are reset."""
        self.listener = listener
        self._turns.forget(listener)
        for flow in [f for f in self._flows if not listener.has(f.endpoint)]:
            flow.abort()
        self.retry()

    def retry(self) -> None:
        """Listen, or cease to, as there are targets or not; why it cannot is in `error`."""
        if not self.listener.open:
            self._stop_listening()
            self.error = ""
        elif self._socket is None:
            try:
                self._socket = _listen(self.listener.key[:2])
            except OSError as error:
                self._report(f"cannot listen: {error.strerror}")
                return
            self.error = ""
            self._loop.add_reader(self._socket, self._accept)

    def tick(self, _now: float) -> None:
        """Try again what failed."""
        self.retry()

    def close(self) -> None:
        """End everything; connections are reset."""
        self._stop_listening()
        for task in self._connecting:
            task.cancel()
        for flow in list(self._flows):
            flow.abort()

    def _stop_listening(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _report(self, error: str) -> None:
        if error != self.error:
            self.error = error
            log.warning("%s: %s:%d/%s: %s", self.listener.service, *self.listener.key, error)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if self._socket is None:
                return
            try:
                client, _ = self._socket.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            client.setblocking(False)
            task = self._loop.create_task(self._carry(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _pause(self, error: OSError) -> None:
        # Out of descriptors: the waiting client would wake us again and again.
        self._report(f"cannot accept: {error.strerror}")
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
        self._loop.call_later(ACCEPT_PAUSE_S, self._resume, self._socket)

    def _resume(self, paused: socket.socket | None) -> None:
        if paused is not None and self._socket is paused:
            self._loop.add_reader(paused, self._accept)

    async def _carry(self, client: socket.socket) -> None:
        tried: set[Endpoint] = set()
        try:
            while True:
                endpoint = self._turns.next(self.listener, tried)
                if endpoint is None:
                    break
                tried.add(endpoint)
                target = await self._connect(endpoint)
                if target is None:
                    continue
                if not self.listener.has(endpoint):  # it left while we connected
                    target.close()
                    continue
                self.total += 1
                self.error = ""
                self._flows.add(_Connection(self._loop, client, target, endpoint, self._flows))
                return
        except asyncio.CancelledError:
            _reset(client)
            raise
        _reset(client)

    async def _connect(self, endpoint: Endpoint) -> socket.socket | None:
        """A connection to a target, or None when it cannot be had."""
        try:
            target = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._report(f"cannot connect: {error.strerror}")
            return None
        try:
            target.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            target.bind((self._source, 0))
            await asyncio.wait_for(self._loop.sock_connect(target, endpoint), CONNECT_TIMEOUT_S)
        except (OSError, asyncio.TimeoutError):
            target.close()
            return None
        except asyncio.CancelledError:
            target.close()
            raise
        return target


class _Connection:
    """A client and a target, joined."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        target: socket.socket,
        endpoint: Endpoint,
        flows: set[_Connection],
    ) -> None:
        self.endpoint = endpoint
        self._flows = flows
        self._ends = (client, target)
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._directions = (
            _Direction(loop, client, target, self),
            _Direction(loop, target, client, self),
        )

    def direction_ended(self) -> None:
        """Both ends said all they had to say: close."""
        if all(direction.ended for direction in self._directions):
            self._release()
            for end in self._ends:
                end.close()

    def abort(self) -> None:
        """Reset both ends: nobody shall take half of a stream for the whole."""
        self._release()
        for end in self._ends:
            _reset(end)

    def _release(self) -> None:
        self._flows.discard(self)
        for direction in self._directions:
            direction.release()


class _Direction:
    """Bytes from one end to the other."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: socket.socket,
        destination: socket.socket,
        connection: _Connection,
    ) -> None:
        self.ended = False
        self._released = False
        self._loop = loop
        self._origin = origin
        self._destination = destination
        self._connection = connection
        self._rest = memoryview(b"")
        loop.add_reader(origin, self._read)

    def release(self) -> None:
        """Let the loop forget both sockets' share in this direction."""
        self._released = True
        self._loop.remove_reader(self._origin)
        self._loop.remove_writer(self._destination)

    def _read(self) -> None:
        try:
            data = self._origin.recv(PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._connection.abort()
            return
        if not data:
            self._end()
            return
        self._rest = memoryview(data)
        if self._send():
            self._loop.remove_reader(self._origin)
            self._loop.add_writer(self._destination, self._write)

    def _write(self) -> None:
        if not self._send() and not self._released:
            self._loop.remove_writer(self._destination)
            self._loop.add_reader(self._origin, self._read)

    def _send(self) -> bool:
        """Send what there is; whether something is left to be sent later."""
        try:
            self._rest = self._rest[self._destination.send(self._rest) :]
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            self._connection.abort()
            return False
        return bool(self._rest)

    def _end(self) -> None:
        self._loop.remove_reader(self._origin)
        self.ended = True
        try:
            self._destination.shutdown(socket.SHUT_WR)
        except OSError:
            self._connection.abort()
            return
        self._connection.direction_ended()


def _listen(endpoint: Endpoint) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Our own connections that ended a moment ago do not bar us; a stranger's listener does.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(endpoint)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _reset(end: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        end.close()
