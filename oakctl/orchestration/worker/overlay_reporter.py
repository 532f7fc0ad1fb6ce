"""Telling the cluster of the overlay as it is here: when something of it changed, and now and then.

Belongs here: gathering a report and when it is sent. Does not belong here: reasons in words
(`oakctl.overlay.kernel.reporting`), answering questions (`overlay_desk`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from oakctl.model.config import WorkerConfig
from oakctl.model.documents import TablesDocument
from oakctl.model.node import NodeFacts
from oakctl.model.overlay_report import (
    ALONE,
    FULL,
    HOST,
    LOOPBACK,
    OverlayReport,
    PathReport,
    TableInForce,
)
from oakctl.orchestration.worker.kernel_overlay import KernelOverlay

log = logging.getLogger("oakctl.worker")

LOOK_S = 2.0  # also the shortest time between two reports
AGAIN_S = 10.0  # without news
EACH_S = 0.25  # likewise, for each path: in a large cluster a report is long, and many send one
SELDOM_S = 30.0  # between looks at what hardly ever changes
_SOMEWHERE = "192.0.2.1"  # for documentation: nothing is sent there


class OverlayReporter:
    """Of one worker. `overlay` is its driver; `facts`, `tables` say what is in force now."""

    def __init__(
        self,
        config: WorkerConfig,
        agent_id: str,
        overlay: object,
        facts: Callable[[], NodeFacts],
        tables: Callable[[], TablesDocument | None],
        send: Callable[[OverlayReport], Awaitable[None]],
    ) -> None:
        self._config = config
        self._agent_id = agent_id
        self._overlay = overlay
        self._facts = facts
        self._tables = tables
        self._send = send
        self._seq = 0
        self._revision, self._tables_at = -1, 0.0
        self._carrier, self._port, self._carried_at = "", 0, -SELDOM_S
        self.problems: tuple[str, ...] = ()  # as they were found last

    async def run(self, connected: Callable[[], bool]) -> None:
        """For ever: what is told while there is no bus counts for nothing, and is told later."""
        told: OverlayReport | None = None
        told_at = 0.0  # by a clock that nobody sets
        while True:
            report = await self.report()
            if not connected():
                told = None
            elif told is None or is_due(told, report, time.monotonic() - told_at):
                self._seq += 1
                told, told_at = replace(report, seq=self._seq), time.monotonic()
                await self._send(told)
            await asyncio.sleep(LOOK_S)

    async def report(self) -> OverlayReport:
        """The overlay as it is now; its number is that of the last one sent."""
        document = self._tables()
        if document is not None and document.revision != self._revision:
            self._revision, self._tables_at = document.revision, time.time()
        tables = document.tables if document is not None else ()
        plain = OverlayReport(
            self._config.worker,
            self._agent_id,
            self._seq,
            time.time(),
            self._config.overlay_driver,
            HOST if self._config.overlay_driver == "host" else LOOPBACK,
            self._facts().overlay_reason,
            self.problems,
            tables=tuple(TableInForce(t.job_name, t.cluster, t.generation) for t in tables),
            tables_revision=self._revision,
            tables_at=self._tables_at,
        )
        return await self._of_kernel(plain) if isinstance(self._overlay, KernelOverlay) else plain

    async def _of_kernel(self, plain: OverlayReport) -> OverlayReport:
        from oakctl.overlay.kernel import reporting

        why = "; ".join(filter(None, ("no other node is known here", plain.reason)))
        alone = replace(plain, mode=ALONE, reason=why)
        assert isinstance(self._overlay, KernelOverlay)
        driver, measuring = self._overlay.made(), self._overlay.measuring()
        if driver is None or measuring is None or not driver.tunnel.base():
            return alone
        tunnel = driver.tunnel
        try:
            # Programs are run for it, and nobody here shall wait for them.
            seen = await asyncio.to_thread(tunnel.seen)
            if time.monotonic() - self._carried_at > SELDOM_S:
                self._carrier = await asyncio.to_thread(tunnel.carrier)
                self._port = await asyncio.to_thread(tunnel.port)
                self._carried_at = time.monotonic()
        except OSError as error:
            return replace(alone, reason=f"no tunnel: {error.strerror or error}")
        view = measuring.view(seen)
        own = _own_address(next((p.endpoint for p in view.base if p.endpoint), ""))
        return replace(
            plain,
            mode=FULL,
            carrier=self._carrier,
            paths=reporting.paths(view),
            seen=reporting.seen(view),
            listens=(f"{own}:{self._port}",) if own and self._port else (),
        )


def is_due(told: OverlayReport, now: OverlayReport, passed_s: float) -> bool:
    """Whether `now` is to be sent, `passed_s` seconds after `told`."""
    again_s = max(AGAIN_S, len(now.paths) * EACH_S)
    return passed_s >= again_s or _lasting(now) != _lasting(told)


def _lasting(report: OverlayReport) -> OverlayReport:
    """Without what changes all the time."""
    paths = tuple(_without_measures(path) for path in report.paths)
    seen = tuple(replace(each, handshake_at=0.0) for each in report.seen)
    return replace(report, seq=0, sent_at=0.0, paths=paths, seen=seen)


def _without_measures(path: PathReport) -> PathReport:
    return replace(path, round_trip_ms=None, sent=0, lost=0, since=0.0, handshake_at=0.0)


def _own_address(endpoint: str) -> str:
    """The address that this host sends from, to an endpoint or to anywhere; empty: none."""
    to = endpoint.rpartition(":")[0] or _SOMEWHERE
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect((to, 9))  # a look at the routes: nothing is sent
            return str(asked.getsockname()[0])
    except OSError:
        return ""
