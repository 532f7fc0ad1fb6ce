"""What workers last told of their overlay, in memory alone.

A worker sends it again by itself, so after a start of ours all is here within seconds. Belongs
here: which report counts, and until when. Does not belong here: what follows from one.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.model import subjects
from oakctl.model.overlay_report import OverlayReport
from oakctl.orchestration.cluster.desk import read


class OverlayReports:
    """The newest report of each worker; `changed` is called after one that says something new.

    `workers` says who there is: a removed worker's report goes with it.
    """

    def __init__(
        self, workers: Callable[[], Container[str]], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._workers = workers
        self._changed = changed
        self._newest: dict[str, OverlayReport] = {}

    async def open(self, client: Client) -> None:
        """Begin to listen."""
        subject = subjects.observed("*", subjects.OBS_OVERLAY)
        await client.subscribe(subject, cb=self._on_report)

    def of(self, worker: str) -> OverlayReport | None:
        """What the worker told last; None: nothing since we started."""
        self._forget()
        return self._newest.get(worker)

    def all(self) -> tuple[OverlayReport, ...]:
        """The newest of each, by worker."""
        self._forget()
        return tuple(self._newest[worker] for worker in sorted(self._newest))

    def take(self, report: OverlayReport) -> bool:
        """Keep it unless it is late, or of nobody we know; whether it was kept."""
        before = self._newest.get(report.worker)
        if report.worker not in self._workers() or (before is not None and _late(report, before)):
            return False
        self._newest[report.worker] = report
        self._changed()
        return True

    async def _on_report(self, message: Msg) -> None:
        report = read(message, OverlayReport)
        if report is not None and subjects.worker_of(message.subject) == report.worker:
            self.take(report)

    def _forget(self) -> None:
        known = self._workers()
        self._newest = {name: each for name, each in self._newest.items() if name in known}


def _late(report: OverlayReport, before: OverlayReport) -> bool:
    """One agent counts its reports; of two agents' the one that was made later is newer."""
    if report.agent_id == before.agent_id:
        return report.seq <= before.seq
    return report.sent_at < before.sent_at
