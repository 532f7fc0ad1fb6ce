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
from oakctl.orchestration.cluster import asked
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.desk import answer, read

log = logging.getLogger("oakctl.cluster.address_desk")

TIDY_S = 5.0


class AddressDesk:
    """Serves `ask.*.addresses`."""

    def __init__(self, client: Client, core: Core) -> None:
        self._client = client
        self._core = core

    async def open(self) -> None:
        """Begin to serve."""
        subject = subjects.ask("*", subjects.ASK_ADDRESSES)
        await self._client.subscribe(subject, cb=self._on_addresses)

    async def tidy(self) -> None:
        """Drop what nobody asks for any more; ends only by being cancelled."""
        while True:
            await asyncio.sleep(TIDY_S)
            await self._core.change(lambda state, _, now: (asked.forget(state, now), None))

    async def _on_addresses(self, message: Msg) -> None:
        request = read(message, AddressesRequest)
        if request is None or not subjects.replies_to_worker(message.subject, message.reply):
            return
        worker = subjects.worker_of(message.subject)
        addresses = request.addresses[:MOST_ASKED]
        known = await self._core.change(
            lambda state, _, now: asked.remember(state, worker, addresses, now)
        )
        await answer(self._client, message, AddressesAnswer(tuple(sorted(known))))
