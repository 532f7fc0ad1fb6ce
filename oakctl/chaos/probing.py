"""Requests to one place, all the time, while things break.

Belongs here: making them, whether each was answered and how long it took. Does not belong here:
what follows from that (`timeline`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from oakctl.chaos.scenario import Probe
from oakctl.chaos.timeline import Request

STAYS_S = 0.1  # a relay that leads nowhere hangs up at once
MOST_REQUESTS = 1_000_000


class Probing:
    """What was asked so far."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        # One client, as making one takes longer than a request; and none of its connections stays.
        self._http = httpx.AsyncClient(
            trust_env=False,
            timeout=probe.timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self.requests: list[Request] = []

    async def ask(self) -> Request:
        """One request, by a connection of its own: what is kept open would not be routed anew."""
        began, clock = time.time(), time.monotonic()
        try:
            async with asyncio.timeout(self._probe.timeout_s):
                why = await (self._get() if self._probe.url else self._connect())
        except TimeoutError:
            why = f"no answer within {self._probe.timeout_s:g} s"
        except (OSError, httpx.HTTPError) as error:
            why = f"{type(error).__name__}: {error}"
        return Request(began, time.monotonic() - clock, not why, why)

    async def _get(self) -> str:
        answer = await self._http.get(self._probe.url)
        return "" if answer.status_code < 500 else f"status {answer.status_code}"

    async def close(self) -> None:
        """Nothing is asked any more."""
        await self._http.aclose()

    async def _connect(self) -> str:
        host, _, port = self._probe.tcp.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            async with asyncio.timeout(min(STAYS_S, self._probe.timeout_s / 2)):
                if not await reader.read(1):
                    return "hung up at once"
        except TimeoutError:
            pass  # it waits for us to speak first
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return ""

    async def go_on(self) -> None:
        """Ask again and again, one a period, whether earlier ones are answered or not."""
        async with asyncio.TaskGroup() as under_way:
            while len(self.requests) < MOST_REQUESTS:
                under_way.create_task(self._keep())
                await asyncio.sleep(self._probe.every_s)

    async def _keep(self) -> None:
        self.requests.append(await self.ask())


@asynccontextmanager
async def probing(probe: Probe | None) -> AsyncIterator[Probing | None]:
    """Requests for as long as this is entered; None without a probe."""
    if probe is None:
        yield None
        return
    made = Probing(probe)
    task = asyncio.create_task(made.go_on(), name="chaos probe")
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        await made.close()
