"""A client's connection and a target's, joined byte for byte.

Each direction holds at most one piece that the receiver has not taken yet, so a slow reader
slows its sender down; an end of one direction is passed on and the other goes on. Does not
belong here: how the two came about (`tcp`).
"""

from __future__ import annotations

import contextlib
import socket
import struct

from oakctl.overlay.loopback.loop import Loop
from oakctl.overlay.loopback.table import Endpoint

PIECE = 65536  # bytes read at once


class Connection:
    """A client and a target, joined."""

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        target: socket.socket,
        endpoint: Endpoint,
        flows: set[Connection],
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
            reset(end)

    def _release(self) -> None:
        self._flows.discard(self)
        for direction in self._directions:
            direction.release()


class _Direction:
    """Bytes from one end to the other."""

    def __init__(
        self,
        loop: Loop,
        origin: socket.socket,
        destination: socket.socket,
        connection: Connection,
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


def reset(end: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    with contextlib.suppress(OSError):  # it is gone already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
