"""What workers ask about service addresses that they know no table of.

Who asks is told the table, as part of its document, before it has its answer. An address that
nobody has may be of a service whose table is still on its way from another cluster: who asked for
it hears of it then. Does not belong here: what is remembered (`asked`).
"""

from __future__ import annotations

import asyncio
import logging

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.model import subjects
from oakctl.model.asking import MOST_ASKED, AddressesAnswer, AddressesRequest
from oakctl.orchestration.cluster import asked, clock
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.desk import answer, read

log = logging.getLogger("oakctl.cluster.address_desk")

TIDY_S = 1.0
WAITING_S = 60.0  # for the table of an address that nobody has
MOST_WAITING = 1024  # addresses of all workers together


class AddressDesk:
    """Serves `ask.*.addresses`."""

    def __init__(self, client: Client, core: Core) -> None:
        self._client = client
        self._core = core
        self._waiting: dict[tuple[str, str], float] = {}  # worker, address → until when

    async def open(self) -> None:
        """Begin to serve."""
        subject = subjects.ask("*", subjects.ASK_ADDRESSES)
        await self._client.subscribe(subject, cb=self._on_addresses)

    def wanted(self) -> frozenset[str]:
        """The addresses that were asked for of late and that nobody here has."""
        return frozenset(address for _, address in self._waiting)

    async def tidy(self) -> None:
        """Tell of tables that have come, drop what nobody asks for; until cancelled."""
        while True:
            await asyncio.sleep(TIDY_S)
            now = clock.read().mono
            self._waiting = {k: until for k, until in self._waiting.items() if until > now}
            for key in [k for k in self._waiting if k[1] in self._core.state.by_address]:
                await self._remember(*key)
                # Not before: meanwhile other clusters would hear that nobody wants it.
                self._waiting.pop(key, None)
            await self._core.seek(self.wanted())
            await self._core.change(lambda state, _, now: (asked.forget(state, now), None))

    async def _on_addresses(self, message: Msg) -> None:
        request = read(message, AddressesRequest)
        if request is None or not subjects.replies_to_worker(message.subject, message.reply):
            return
        worker = subjects.worker_of(message.subject)
        addresses = request.addresses[:MOST_ASKED]
        known = await self._remember(worker, *addresses)
        until = clock.read().mono + WAITING_S
        for address in set(addresses) - known:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[worker, address] = until
        await self._core.seek(self.wanted())
        await answer(self._client, message, AddressesAnswer(tuple(sorted(known))))

    async def _remember(self, worker: str, *addresses: str) -> frozenset[str]:
        return await self._core.change(
            lambda state, _, now: asked.remember(state, worker, addresses, now)
        )
