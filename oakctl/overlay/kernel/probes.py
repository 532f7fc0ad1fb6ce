"""Asking other nodes, through the tunnel, whether they are there: ICMP echo, a few times a second.

Their kernels answer, so that a node whose agent is away counts as what it is. Belongs here:
sending, receiving, and telling of changes. Does not belong here: what counts as one (`liveness`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable

from oakctl.overlay.kernel import liveness
from oakctl.overlay.kernel.cables import MTU
from oakctl.overlay.kernel.liveness import Pulse

_ECHO, _ANSWER = 8, 0
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_IP_HEADER = 20
# IP_MTU_DISCOVER and IP_PMTUDISC_PROBE of linux/in.h: packets leave in one piece or not at all,
# as what is known of the path is old. In pieces a large echo would get through anywhere.
_IN_ONE_PIECE = 10, 3
_KEPT = 64  # probes of one node whose answers are still of interest


class Probes:
    """Measures nodes by their own addresses; calls `changed` when there is news.

    `before` is called before each round: who has another way to a node can take it, and have
    what was missed until then forgiven, before it counts.
    """

    def __init__(
        self, changed: Callable[[], None], before: Callable[[], None] = lambda: None
    ) -> None:
        self._changed = changed
        self._before = before
        self._pulses: dict[str, Pulse] = {}
        self._told: dict[str, Pulse] = {}
        self._number = 0
        self._sequence = 0
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sent: dict[int, tuple[str, float, bool]] = {}  # sequence → node, when, large

    def watch(self, nodes: Iterable[str]) -> None:
        """Measure these nodes from now on, and no others."""
        self._pulses = {node: self._pulses.get(node, Pulse()) for node in nodes}

    def unreachable(self) -> frozenset[str]:
        """The nodes that do not answer."""
        return liveness.unreachable(self._pulses)

    def round_trips_ms(self) -> dict[str, float]:
        """How far the others are."""
        return liveness.round_trips_ms(self._pulses)

    def pulses(self) -> dict[str, Pulse]:
        """All that is known, by node."""
        return dict(self._pulses)

    def forgive(self, node: str) -> None:
        """Another way leads to the node from now on: what it missed on the former is no matter."""
        if node in self._pulses:
            self._pulses[node] = liveness.forgiven(self._pulses[node])

    async def run(self) -> None:
        """Go on until cancelled. Raises OSError where the kernel does not let us ask."""
        with opened_for_echoes() as opened:
            loop = asyncio.get_running_loop()
            loop.add_reader(opened, self._receive, opened)
            try:
                while True:
                    self._before()
                    self._round(opened)
                    await asyncio.sleep(liveness.INTERVAL_S)
            finally:
                loop.remove_reader(opened)

    def _round(self, opened: socket.socket) -> None:
        large = self._number % liveness.LARGE_EVERY == 0
        self._number += 1
        for node in list(self._pulses):
            sequence = self._remember(node, large)
            self._pulses[node] = liveness.sent(self._pulses[node], large)
            with contextlib.suppress(OSError):  # no route, a full buffer: as good as no answer
                opened.sendto(echo(self._identifier, sequence, large), (node, 0))
        self._tell()

    def _remember(self, node: str, large: bool) -> int:
        self._sequence = sequence = (self._sequence + 1) % 0x10000
        while len(self._sent) >= _KEPT * max(1, len(self._pulses)):
            del self._sent[next(iter(self._sent))]
        self._sent[sequence] = (node, time.monotonic(), large)
        return sequence

    def _receive(self, opened: socket.socket) -> None:
        while True:
            try:
                packet, (source, _) = opened.recvfrom(2048)
            except OSError:
                return
            now = time.monotonic()
            asked = self._sent.get(answer_to(packet, self._identifier))
            if asked is None or asked[0] != source or source not in self._pulses:
                continue
            _, at, large = asked
            self._pulses[source] = liveness.answered(self._pulses[source], large, (now - at) * 1e3)

    def _tell(self) -> None:
        if liveness.is_news(self._told, self._pulses):
            self._told = dict(self._pulses)
            self._changed()


def opened_for_echoes() -> socket.socket:
    """A socket that does not wait. Raises OSError where the kernel does not let us have it."""
    raw = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    opened = socket.socket(socket.AF_INET, raw, socket.IPPROTO_ICMP)
    opened.setsockopt(socket.IPPROTO_IP, *_IN_ONE_PIECE)
    return opened


def echo(identifier: int, sequence: int, large: bool, said: bytes = bytes(8)) -> bytes:
    """An ICMP echo request, with what is `said` (of an even length) in front of its payload.

    A large one fills the overlay's MTU.
    """
    payload = said.ljust(MTU - _IP_HEADER - _HEADER.size if large else 0, b"\0")
    blank = _HEADER.pack(_ECHO, 0, 0, identifier, sequence) + payload
    total = sum(struct.unpack(f"!{len(blank) // 2}H", blank))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return _HEADER.pack(_ECHO, 0, ~total & 0xFFFF, identifier, sequence) + payload


def said_in(packet: bytes) -> bytes:
    """The payload of an echo request; empty where an IPv4 packet is none."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if header < _IP_HEADER or len(packet) < header + _HEADER.size or packet[header] != _ECHO:
        return b""
    return packet[header + _HEADER.size :]


def answer_to(packet: bytes, identifier: int) -> int:
    """The sequence of the echo that an IPv4 packet answers; -1: it answers none of ours."""
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if header < _IP_HEADER or len(packet) < header + _HEADER.size:
        return -1
    kind, _, _, whose, sequence = _HEADER.unpack_from(packet, header)
    return int(sequence) if (kind, whose) == (_ANSWER, identifier) else -1
