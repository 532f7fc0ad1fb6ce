"""The kernel's table of flows: looking through it, and deleting from it (ctnetlink).

By the kernel's own interface rather than the program `conntrack`: it is asked after every change,
and a process takes longer than the answer. Does not belong here: which flows go (`flows`).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator

from oakctl.overlay.kernel import flows
from oakctl.overlay.kernel.flows import FAMILY, HEADER, Flow

_NETFILTER = 12  # NETLINK_NETFILTER
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # of the subsystem ctnetlink
_ERROR, _DONE = 2, 3
_REQUEST, _ACKNOWLEDGE, _DUMP = 0x01, 0x04, 0x300
_PIECE = 1 << 18
DEADLINE_S = 10.0


def delete_flows(
    networks_prefixes: Iterable[bytes], goes: Callable[[Flow], bool]
) -> tuple[Flow, ...]:
    """Delete each flow of IPv4 that `goes`, of those with one of these bytes in them.

    Returns what was deleted. Raises OSError, PermissionError among them.
    """
    wanted = tuple(networks_prefixes)
    with _socket() as kernel:
        found = [
            flow
            for message in _dump(kernel)
            if any(prefix in message for prefix in wanted)
            for flow in (flows.parse(message),)
            if flow is not None and goes(flow)
        ]
        return tuple(flow for flow in found if _delete(kernel, flow))


def _socket() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    kernel.settimeout(DEADLINE_S)
    return kernel


def _dump(kernel: socket.socket) -> Iterator[bytes]:
    kernel.send(HEADER.pack(HEADER.size + len(FAMILY), _GET, _REQUEST | _DUMP, 1, 0) + FAMILY)
    while True:
        for kind, message in _messages(kernel.recv(_PIECE)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise(message)
            yield message


def _delete(kernel: socket.socket, flow: Flow) -> bool:
    """False when it was gone by itself."""
    body = FAMILY + flow.key
    kernel.send(HEADER.pack(HEADER.size + len(body), _DELETE, _REQUEST | _ACKNOWLEDGE, 2, 0) + body)
    for kind, message in _messages(kernel.recv(_PIECE)):
        if kind == _ERROR:
            try:
                _raise(message)
            except FileNotFoundError:
                return False
    return True


def _messages(piece: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start + HEADER.size <= len(piece):
        length, kind, *_ = HEADER.unpack_from(piece, start)
        if length < HEADER.size:
            raise OSError(errno.EBADMSG, "the kernel's list of flows cannot be read")
        yield kind, piece[start : start + length]
        start += (length + 3) & ~3


def _raise(message: bytes) -> None:
    number = -int.from_bytes(message[HEADER.size : HEADER.size + 4], sys.byteorder, signed=True)
    if number:
        raise OSError(number, f"the kernel's list of flows: {os.strerror(number)}")
