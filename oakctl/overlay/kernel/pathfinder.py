"""Finds direct ways to nodes that a relay leads to, and keeps to those that hold.

It echoes on both ways, gives the tunnel what the pure modules decide, and reads the other side's
words in its echoes. Belongs here: sockets, and when what is sent. Does not belong here: decisions
(`paths`), endpoints (`endpoints`), the tunnel's commands (`ways`, `tunnel`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from oakctl.model.overlay import OverlayNode
from oakctl.overlay import addressing
from oakctl.overlay.kernel import endpoints, liveness, paths, probes, ways, words
from oakctl.overlay.kernel.paths import Pair, Phase, Timing
from oakctl.overlay.kernel.tunnel import Tunnel
from oakctl.overlay.kernel.ways import Way

log = logging.getLogger("oakctl.overlay")

_KEPT = 256  # echoes of one node whose answers are still of interest
_OFTEN, _SOMETIMES, _SELDOM = 1, 4, 20  # rounds between words on the relayed way
_UNEASY_S = 2.0  # after a change words are said often


@dataclass
class _Known:
    """A node and the pair with it; and when it is next told something by the relay."""

    node: OverlayNode
    pair: Pair
    gateway: str
    kinds: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()  # of both
    why: str = ""  # the last direct way ended, in words
    said: int = -_SELDOM  # the round in which it was last told something by the relay
    sent: dict[int, tuple[float, bool, bool]] = field(default_factory=dict)  # when, large, direct


class Pathfinder:
    """Of one node: `subnet` is its own, `tunnel` that which it changes.

    `forgive` is told the own address of each node that another way leads to from now on.
    """

    def __init__(
        self,
        subnet: str,
        tunnel: Tunnel,
        forgive: Callable[[str], None],
        timing: Timing = paths.TIMING,
    ) -> None:
        self._subnet = subnet
        self._tunnel = tunnel
        self._forgive = forgive
        self._timing = timing
        self._me: OverlayNode | None = None
        self._met: tuple[OverlayNode, ...] = ()
        self._known: dict[str, _Known] = {}  # by public key
        self._whose: dict[str, tuple[str, bool]] = {}  # address → public key, on the direct way
        self._sockets: dict[bool, socket.socket] = {}  # the direct way's, the relayed way's
        self._round = 0
        self._sequence = 0
        self._identifier = int.from_bytes(os.urandom(2), "big")

    def pairs(self) -> dict[str, Pair]:
        """What is known of each pair, by public key."""
        return {key: known.pair for key, known in self._known.items()}

    def one_sided(self) -> frozenset[str]:
        """The own addresses of nodes that nothing gets to until their agents are back."""
        now = time.monotonic()
        return frozenset(
            known.gateway
            for known in self._known.values()
            if paths.is_one_sided(known.pair, now, self._timing)
        )

    def why(self, key: str) -> str:
        """Why the last direct way to a node ended, in words; empty: none has."""
        return self._known[key].why if key in self._known else ""

    def open(self) -> None:
        """Begin to listen, in a running event loop; the node has its addresses. Raises OSError."""
        addresses = {True: addressing.direct, False: addressing.relayed}
        for direct, address in addresses.items():
            self._sockets[direct] = opened = probes.opened_for_echoes()
            opened.bind((address(self._subnet), 0))
            asyncio.get_running_loop().add_reader(opened, self._receive, opened)

    def close(self) -> None:
        """Listen no more; the ways that are in force stay so."""
        for opened in self._sockets.values():
            asyncio.get_running_loop().remove_reader(opened)
            opened.close()
        self._sockets.clear()

    def tick(self, wanted: Collection[str]) -> None:
        """One round: decide, change the tunnel, echo. To be called four times a second.

        `wanted` are the own addresses of nodes that there is traffic with.
        """
        self._round += 1
        now = time.monotonic()
        if self._tunnel.nodes is not self._met:
            self._meet(now)
        for known in self._known.values():
            if (wants := known.gateway in wanted) != known.pair.wants:
                known.pair = replace(known.pair, wants=wants)
            if paths.cares(known.pair, now, self._timing):
                kinds, at = known.kinds, known.endpoints
                self._put(known, paths.ticked(known.pair, now, kinds, at, self._timing), now)
        self._lead()
        for known in self._known.values():
            self._say(known, now)

    def _meet(self, now: float) -> None:
        """Know just those nodes that a direct way may lead to; adopt ways that are in force."""
        base, self._met = self._tunnel.base(), self._tunnel.nodes
        self._me = me = next((n for n in self._met if n.subnet == self._subnet), None)
        found = ways.eligible(self._subnet, base, self._met) if me is not None else ()
        there = {node.public_key: node for node in found}
        for key in self._known.keys() - there.keys():
            del self._known[key]
        in_force = self._tunnel.ways()
        for key, node in there.items():
            assert me is not None
            if key not in self._known:
                leads = me.public_key < key
                old = key in in_force and in_force[key].in_force
                pair = paths.adopted(leads, now) if old else Pair(leads)
                self._known[key] = _Known(node, pair, addressing.gateway(node.subnet))
            known = self._known[key]
            known.node = node
            known.kinds = endpoints.kinds(me, node)
            known.endpoints = endpoints.known(me, node)
        self._whose = {
            address(known.node.subnet): (key, direct)
            for key, known in self._known.items()
            for direct, address in ((True, addressing.direct), (False, addressing.relayed))
        }

    def _put(self, known: _Known, pair: Pair, now: float) -> None:
        before, known.pair = known.pair, pair
        if pair.attempt != before.attempt:  # answers of a former trial prove nothing
            known.sent = {number: each for number, each in known.sent.items() if not each[2]}
        if before.phase is pair.phase:
            return
        name = known.node.worker
        if pair.phase is Phase.DIRECT:
            log.info("overlay: the path to %s is direct", name)
        elif before.phase is Phase.DIRECT:
            missed = before.direct.waiting >= liveness.MISSES
            known.why = (
                f"{liveness.MISSES} echoes in a row had no answer on it"
                if missed or before.direct.waiting_large >= liveness.MISSES
                else f"{name} went back to the relay"
            )
            log.info("overlay: the path to %s is relayed: %s", name, known.why)
            # A node that does not answer by the relay either is gone, and shall count as that.
            if not missed or (pair.relayed.answers > 0 and pair.relayed.waiting <= 1):
                self._forgive(known.gateway)

    def _lead(self) -> None:
        wanted: dict[str, Way] = {}
        before = self._tunnel.ways()
        for key, known in self._known.items():
            pair = known.pair
            if pair.phase is Phase.TRYING:
                me = self._me if pair.both else None
                at = endpoints.endpoint(me, known.node, pair.kind) if me is not None else ""
                wanted[key] = Way(at, trial=pair.attempt)
            elif pair.phase is Phase.DIRECT:
                # As it was tried: with another trial's number the tunnel would begin anew.
                wanted[key] = replace(before.get(key, Way()), in_force=True)
        if wanted != before:
            try:
                self._tunnel.lead(wanted)
            except OSError as error:
                log.warning("overlay: direct ways: %s", error.strerror or error)

    def _say(self, known: _Known, now: float) -> None:
        """The echoes of one round to one node."""
        if paths.echoes_directly(known.pair):
            self._send(known, now, direct=True)
            trying = known.pair.phase is Phase.TRYING
            if trying or self._round % liveness.LARGE_EVERY == 0:
                self._send(known, now, direct=True, large=True)
        due = self._round - known.said >= _period(known.pair, now)
        if due and paths.cares(known.pair, now, self._timing):
            self._send(known, now, direct=False)

    def _send(self, known: _Known, now: float, *, direct: bool, large: bool = False) -> None:
        if not direct:
            known.said = self._round
        self._sequence = sequence = (self._sequence + 1) % 0x10000
        while len(known.sent) >= _KEPT:
            del known.sent[next(iter(known.sent))]
        known.sent[sequence] = (now, large, direct)
        said = words.encoded(known.pair.word())
        known.pair = paths.sent(known.pair, large, direct=direct)
        address = addressing.direct if direct else addressing.relayed
        with contextlib.suppress(OSError, KeyError):  # no route, a full buffer: as good as lost
            packet = probes.echo(self._identifier, sequence, large, said)
            self._sockets[direct].sendto(packet, (address(known.node.subnet), 0))

    def _receive(self, opened: socket.socket) -> None:
        while True:
            try:
                packet, (source, _) = opened.recvfrom(2048)
            except OSError:
                return
            key, direct = self._whose.get(source, ("", False))
            if key not in self._known or self._sockets.get(direct) is not opened:
                continue
            now = time.monotonic()
            sequence = probes.answer_to(packet, self._identifier)
            word = words.decoded(probes.said_in(packet))
            if sequence >= 0:
                self._answered(self._known[key], sequence, direct, now)
            elif word is not None:
                self._hear(self._known[key], word, now)

    def _answered(self, known: _Known, sequence: int, direct: bool, now: float) -> None:
        at, large, by_direct = known.sent.pop(sequence, (0.0, False, not direct))
        late = direct and known.pair.phase is Phase.RELAYED
        if by_direct != direct or late:
            return
        before = known.pair.word()
        known.pair = paths.answered(known.pair, large, (now - at) * 1e3, direct=direct)
        if known.pair.word() != before:  # that was the proof
            self._send(known, now, direct=False)

    def _hear(self, known: _Known, word: paths.Word, now: float) -> None:
        before = known.pair
        self._put(known, paths.heard(before, word, now, self._timing), now)
        self._lead()
        if known.pair.word() != before.word():
            self._send(known, now, direct=False)
        if known.pair.both and not before.both:
            self._send(known, now, direct=True)


def _period(pair: Pair, now: float) -> int:
    """Rounds until the next word on the relayed way."""
    if pair.phase is Phase.TRYING or pair.direct.waiting > 1 or now - pair.since < _UNEASY_S:
        return _OFTEN
    first = pair.relayed.answers == 0 and pair.wants
    return _SOMETIMES if pair.phase is Phase.DIRECT or first else _SELDOM
