"""Asking the cluster for services that instances here talk to without having said so.

The kernel notes the addresses of packets that it knows no way for, and holds those packets for
seconds. Belongs here: asking for them, and again while flows are open. Does not belong here: noting
(`oakctl.overlay.kernel`), the tables that come of it (`agent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from oakctl.model.asking import MOST_ASKED
from oakctl.orchestration.worker.fetching import NotDelivered
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay

log = logging.getLogger("oakctl.worker.asking")

LOOK_S = 0.2
RENEW_S = 60.0

Ask = Callable[[tuple[str, ...]], Awaitable[frozenset[str]]]


async def run(overlay: object, ask: Ask) -> None:
    """Go on until cancelled. `ask` returns those that are known, and raises NotDelivered."""
    if not isinstance(overlay, KernelOverlay):
        await asyncio.Event().wait()
        return
    renewed = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        with contextlib.suppress(NotDelivered, OSError):  # the kernel refuses them after a while
            wanted = overlay.asked()
            if wanted:
                await overlay.refuse(await _unknown(ask, wanted))
            if time.monotonic() - renewed >= RENEW_S:
                renewed = time.monotonic()
                await _unknown(ask, await overlay.used())


async def _unknown(ask: Ask, wanted: Collection[str]) -> list[str]:
    """Those of them that no service has."""
    in_order = sorted(wanted)
    known: set[str] = set()
    for begin in range(0, len(in_order), MOST_ASKED):
        known |= await ask(tuple(in_order[begin : begin + MOST_ASKED]))
    unknown = [address for address in in_order if address not in known]
    if unknown:
        log.info("no service has %s", ", ".join(unknown[:5]))
    return unknown
