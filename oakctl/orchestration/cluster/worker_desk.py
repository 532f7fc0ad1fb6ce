"""What workers say and ask: greeting, heartbeats, documents, reports, chunks of artifacts.

Each worker is believed under its own name only, which the bus vouches for by the subject; and an
answer goes only into that worker's own inbox: the bus does not check reply subjects. Does not
belong here: what follows from a message (the pure modules).
"""

from __future__ import annotations

import asyncio
import logging

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.errors import OakError
from oakctl.model import subjects
from oakctl.model.documents import Heartbeat, Report, StatisticsReport
from oakctl.model.messages import (
    ChunkRequest,
    DocumentRequest,
    Greeting,
    ReportAnswer,
)
from oakctl.orchestration.cluster import membership, reports
from oakctl.orchestration.cluster.artifacts import Artifacts
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.desk import Tasks, answer, read
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.state import State
from oakctl.orchestration.cluster.uplink import Uplink

log = logging.getLogger("oakctl.cluster.worker_desk")

CHUNKS_AT_ONCE = 8  # each is in memory once


class WorkerDesk:
    """Serves `hb.*`, `ask.*.>` and `obs.*.>`."""

    def __init__(
        self,
        client: Client,
        core: Core,
        artifacts: Artifacts,
        uplink: Uplink,
        tasks: Tasks,
        heartbeat_s: float,
    ) -> None:
        self._client = client
        self._core = core
        self._artifacts = artifacts
        self._uplink = uplink
        self._tasks = tasks
        self._heartbeat_s = heartbeat_s
        self._chunks = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def open(self) -> None:
        """Begin to serve."""
        await self._client.subscribe(subjects.heartbeat("*"), cb=self._on_heartbeat)
        for subject, handler in (
            (subjects.ask("*", subjects.ASK_GREETING), self._on_greeting),
            (subjects.ask("*", subjects.ASK_DESIRED), self._on_desired),
            (subjects.ask("*", subjects.ASK_TABLES), self._on_tables),
            (subjects.ask("*", subjects.ASK_CHUNK), self._on_chunk),
            (subjects.observed("*", subjects.OBS_REPORT), self._on_report),
            (subjects.observed("*", subjects.OBS_STATISTICS), self._on_statistics),
        ):
            await self._client.subscribe(subject, cb=handler)

    async def _on_heartbeat(self, message: Msg) -> None:
        beat = read(message, Heartbeat)
        if beat is None or not _speaks_for_itself(message, beat.worker):
            return
        if self._core.heard(beat):
            await self._core.push(beat.worker)

    async def _on_greeting(self, message: Msg) -> None:
        greeting = read(message, Greeting)
        if greeting is None or not _may_be_answered(message, greeting.worker):
            return
        given = await self._core.change(
            lambda state, _, now: membership.greet(state, greeting, self._heartbeat_s, now)
        )
        if given.accepted:
            self._core.greeted(greeting.worker, greeting.agent_id)
        await answer(self._client, message, given)

    async def _on_desired(self, message: Msg) -> None:
        asked = read(message, DocumentRequest)
        if asked is None or not _may_be_answered(message, asked.worker):
            return
        document = self._core.documents.desired.get(asked.worker)
        newer = document is not None and document.revision > asked.have
        await answer(self._client, message, document if newer else b"")

    async def _on_tables(self, message: Msg) -> None:
        asked = read(message, DocumentRequest)
        if asked is None or not _may_be_answered(message, asked.worker):
            return
        document = self._core.documents.tables.get(asked.worker)
        newer = document is not None and document.revision > asked.have
        await answer(self._client, message, document if newer else b"")

    async def _on_chunk(self, message: Msg) -> None:
        asked = read(message, ChunkRequest)
        if asked is not None and _may_be_answered(message, subjects.worker_of(message.subject)):
            self._tasks.start(self._send_chunk(message, asked))

    async def _send_chunk(self, message: Msg, asked: ChunkRequest) -> None:
        worker = subjects.worker_of(message.subject)
        if not self._is_needed(worker, asked.sha256):
            reason = f"no instance on {worker} needs artifact {asked.sha256[:12]!r}"
            await answer(self._client, message, b"", {subjects.HEADER_ERROR: reason})
            return
        try:
            async with self._chunks:
                body, size = await self._artifacts.chunk(asked.sha256, asked.offset, asked.length)
                await answer(self._client, message, body, {subjects.HEADER_SIZE: str(size)})
        except (OakError, OSError) as error:
            text = " ".join(str(error).split())
            await answer(self._client, message, b"", {subjects.HEADER_ERROR: text})

    def _is_needed(self, worker: str, sha256: str) -> bool:
        state = self._core.state
        specs = (state.spec(record.job_name) for record in state.on(worker))
        return any(spec is not None and sha256 in spec.blobs for spec in specs)

    async def _on_report(self, message: Msg) -> None:
        report = read(message, Report)
        if report is None or not _may_be_answered(message, report.worker):
            return

        def merge(state: State, _: Fleet, now: Now) -> tuple[State, bool]:
            if reports.is_late(state, report):
                return state, False
            revision = self._core.documents.desired_revision(report.worker)
            return reports.merge(state, report, revision, now), True

        if not await self._core.change(merge):
            # Its agent has said more since, or is not the one that speaks for the worker.
            log.info("late report %d of %s is ignored", report.seq, report.worker)
            return
        placed = {record.key for record in self._core.state.on(report.worker)}
        own = (seen for seen in report.instances if (seen.job_name, seen.number) in placed)
        self._core.note_unfit(own)
        left_over = reports.leftovers(self._core.state, report)
        self._core.holds(report.worker, reports.holds(report), left_over)
        await answer(self._client, message, ReportAnswer(report.seq))

    async def _on_statistics(self, message: Msg) -> None:
        told = read(message, StatisticsReport)
        if told is None or not _speaks_for_itself(message, told.worker):
            return
        placed = {record.key for record in self._core.state.on(told.worker)}
        own = [s for s in told.instances if (s.job_name, s.number) in placed]
        self._uplink.add_statistics(own)
        self._core.used(own)


def _speaks_for_itself(message: Msg, worker: str) -> bool:
    if subjects.worker_of(message.subject) == worker:
        return True
    log.warning("%s carries a message in the name of %r", message.subject, worker)
    return False


def _may_be_answered(message: Msg, worker: str) -> bool:
    if not _speaks_for_itself(message, worker):
        return False
    if subjects.replies_to_worker(message.subject, message.reply):
        return True
    log.warning("%s wants its answer in %r: not given", message.subject, message.reply)
    return False
