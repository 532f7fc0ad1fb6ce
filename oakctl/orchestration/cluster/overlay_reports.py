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

MOST_FORMER = 8  # agents of one worker whose late words are known as that


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
        self._former: dict[str, tuple[str, ...]] = {}  # ids of agents before the one that is heard

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
        if report.worker not in self._workers():
            return False
        if before is not None and report.agent_id == before.agent_id:
            if report.seq <= before.seq:
                return False
        elif report.agent_id in self._former.get(report.worker, ()):
            return False  # late. Clocks say nothing of that: one may have been set back
        elif before is not None:
            former = (before.agent_id, *self._former.get(report.worker, ()))
            self._former[report.worker] = former[:MOST_FORMER]
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
        self._former = {name: each for name, each in self._former.items() if name in known}
