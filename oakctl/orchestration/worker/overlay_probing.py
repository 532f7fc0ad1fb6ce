"""Tries from inside a node, once, because somebody asked: ICMP, TCP and UDP.

Belongs here: sending, waiting, and what an outcome means in words. Does not belong here: what is
tried (`overlay_desk`), measuring all the time (`overlay.kernel.probes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from oakctl.model.overlay_asking import FAILED, NOT_APPLICABLE, REACHED, UNKNOWN, Probe

WAIT_S = 2.0  # for one answer
UDP_WAIT_S = 1.0
ALL_S = 12.0  # for all of them; what has not begun by then is not tried
AT_ONCE = 32
PINGS = 3  # one may be lost while a tunnel wakes up
_WORDS = {
    errno.EMSGSIZE: "this node's own link to it is too narrow",
    errno.ECONNREFUSED: "refused: nothing listens there",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
    errno.ECONNRESET: "it hung up",
}


@dataclass(frozen=True)
class Try:
    """One thing to be tried; `at` is the address as this node reaches it, `told` is shown."""

    kind: str  # ping, ping large, tcp, udp
    to: str
    told: str
    at: str
    port: int = 0
    node: str = ""  # which it is on

    def ended(self, outcome: str, words: str = "", round_trip_ms: float = -1.0) -> Probe:
        """What came of it."""
        ms = round(round_trip_ms, 3)
        return Probe(self.kind, self.to, self.told, self.port, outcome, ms, words, self.node)


async def carry_out(tries: Iterable[Try]) -> tuple[Probe, ...]:
    """What came of each, in their order; takes at most `ALL_S` and `WAIT_S`, and raises nothing."""
    gate = asyncio.Semaphore(AT_ONCE)
    deadline = time.monotonic() + ALL_S

    async def one(wanted: Try) -> Probe:
        async with gate:
            if time.monotonic() > deadline:
                return wanted.ended(UNKNOWN, "not tried: the others took too long")
            return await _HOW[wanted.kind](wanted)

    return tuple(await asyncio.gather(*(one(each) for each in tries)))


async def _tcp(wanted: Try) -> Probe:
    began = time.monotonic()
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(wanted.at, wanted.port), WAIT_S)
    except (OSError, asyncio.TimeoutError) as error:
        return wanted.ended(FAILED, _said(error))
    spent = (time.monotonic() - began) * 1e3
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return wanted.ended(REACHED, "", spent)


async def _udp(wanted: Try) -> Probe:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setblocking(False)
        began = time.monotonic()
        try:
            opened.connect((wanted.at, wanted.port))
            opened.send(b"")
            await asyncio.wait_for(loop.sock_recv(opened, 2048), UDP_WAIT_S)
        except asyncio.TimeoutError:
            return wanted.ended(UNKNOWN, "sent; nothing came back, as is usual with UDP")
        except OSError as error:
            return wanted.ended(FAILED, _said(error))
        return wanted.ended(REACHED, "", (time.monotonic() - began) * 1e3)


async def _ping(wanted: Try) -> Probe:
    from oakctl.overlay.kernel.probes import echo, opened_for_echoes

    try:
        opened = opened_for_echoes()
    except OSError:
        return wanted.ended(NOT_APPLICABLE, "only an agent that is root may ping")
    with opened:
        identifier = int.from_bytes(os.urandom(2), "big")
        for sequence in range(1, PINGS + 1):
            began = time.monotonic()
            try:
                packet = echo(identifier, sequence, wanted.kind != "ping")
                opened.sendto(packet, (wanted.at, 0))
                answered = _answered(opened, identifier, sequence)
                await asyncio.wait_for(answered, WAIT_S / PINGS)
            except asyncio.TimeoutError:
                continue
            except OSError as error:
                return wanted.ended(FAILED, _said(error))
            return wanted.ended(REACHED, "", (time.monotonic() - began) * 1e3)
    return wanted.ended(FAILED, f"no answer to {PINGS} pings")


async def _answered(opened: socket.socket, identifier: int, sequence: int) -> None:
    from oakctl.overlay.kernel.probes import answer_to

    loop = asyncio.get_running_loop()
    while answer_to(await loop.sock_recv(opened, 2048), identifier) != sequence:
        continue


def _said(error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "no answer"
    number = error.errno if isinstance(error, OSError) else None
    return _WORDS.get(number or 0, os.strerror(number) if number else str(error))


_HOW: dict[str, Callable[[Try], Awaitable[Probe]]] = {
    "tcp": _tcp,
    "udp": _udp,
    "ping": _ping,
    "ping large": _ping,
}
