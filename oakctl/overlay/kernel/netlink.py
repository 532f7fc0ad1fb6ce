"""Asking the kernel's netfilter without a program: one list from it, one command to it.

Belongs here: sockets, messages, the kernel's errors. Does not belong here: what is in a message
(`attributes`, `flows`, `asked`).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator

from oakctl.overlay.kernel.attributes import HEADER, message

_NETFILTER = 12  # NETLINK_NETFILTER
_ERROR, _DONE = 2, 3
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x01, 0x04, 0x300
_PIECE = 1 << 18
DEADLINE_S = 10.0


def opened() -> socket.socket:
    """A socket to netfilter, with a deadline."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    kernel.settimeout(DEADLINE_S)
    return kernel


def dump(kernel: socket.socket, kind: int, body: bytes = b"") -> Iterator[bytes]:
    """The messages of a list. Raises OSError."""
    kernel.send(message(kind, _REQUEST | _DUMP, body))
    while True:
        for found, said in _messages(kernel.recv(_PIECE)):
            if found == _DONE:
                return
            if found == _ERROR:
                _raise(said)
            yield said


def command(kernel: socket.socket, kind: int, body: bytes) -> None:
    """Have it done. Raises OSError."""
    kernel.send(message(kind, _REQUEST | _ACKNOWLEDGE, body))
    for found, said in _messages(kernel.recv(_PIECE)):
        if found == _ERROR:
            _raise(said)


def _messages(piece: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start + HEADER.size <= len(piece):
        length, kind, *_ = HEADER.unpack_from(piece, start)
        if length < HEADER.size:
            raise OSError(errno.EBADMSG, "netfilter's answer cannot be read")
        yield kind, piece[start : start + length]
        start += (length + 3) & ~3


def _raise(said: bytes) -> None:
    number = -int.from_bytes(said[HEADER.size : HEADER.size + 4], sys.byteorder, signed=True)
    if number:
        raise OSError(number, f"netfilter: {os.strerror(number)}")
