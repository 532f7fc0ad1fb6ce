"""What the root says and asks: offers, shares, enrolment, settings, uploads, logs.

Each is answered when it is durable. Does not belong here: what follows from it (the pure
modules).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable
from oakctl.model.messages import (
    Answer,
    ClusterState,
    Enrolment,
    LogsAnswer,
    LogsRequest,
    Offer,
    OfferAnswer,
    Settings,
    Share,
    Upload,
    UploadAnswer,
    WorkerChange,
)
from oakctl.model.service import split_instance_name
from oakctl.model.sessions import SessionAnswer
from oakctl.orchestration import bus
from oakctl.orchestration.cluster import liveness, membership, offers, shares, tables
from oakctl.orchestration.cluster.artifacts import Artifacts
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.credentials import Credentials
from oakctl.orchestration.cluster.desk import Tasks, answer
from oakctl.orchestration.cluster.session_relay import SessionRelay, serve
from oakctl.orchestration.scheduling import policies

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.root_desk")

LONGEST_LOG_WAIT_S = 30.0
LOG_MARGIN_S = 5.0  # of the worker's answer, beyond what it was asked to wait
Handler = Callable[[Msg], Awaitable[Any]]
Refusal = Callable[[str], Any]


class RootDesk:
    """Serves `ctl.*`."""

    def __init__(
        self,
        client: Client,
        core: Core,
        artifacts: Artifacts,
        credentials: Credentials,
        tasks: Tasks,
        compose: Callable[[], ClusterState],
    ) -> None:
        self._client = client
        self._core = core
        self._artifacts = artifacts
        self._credentials = credentials
        self._tasks = tasks
        self._compose = compose
        self.sessions = SessionRelay(client, self._where, tasks)

    async def open(self) -> None:
        """Begin to serve."""
        served: tuple[tuple[str, Handler, Refusal], ...] = (
            (subjects.CTL_OFFER, self._offer, _offer_refused),
            (subjects.CTL_EXPLAIN, self._explain, _offer_refused),
            (subjects.CTL_SHARE, self._share, _refused),
            (subjects.CTL_STATE, self._state, _refused),
            (subjects.CTL_ENROL, self._enrol, _refused),
            (subjects.CTL_WORKER, self._worker, _refused),
            (subjects.CTL_SETTINGS, self._settings, _refused),
            (subjects.CTL_TABLE, self._table, _refused),
        )
        # These wait for workers and disks; others need not wait for them.
        beside: tuple[tuple[str, Handler, Refusal], ...] = (
            (subjects.CTL_LOGS, self._logs, _logs_refused),
            (subjects.CTL_UPLOAD, self._upload, _upload_refused),
            (subjects.CTL_SESSION, self._session, _session_refused),
        )
        for subject, handler, refusal in served:
            await self._client.subscribe(subject, cb=self._served(handler, refusal))
        for subject, handler, refusal in beside:
            await self._client.subscribe(subject, cb=self._beside(self._served(handler, refusal)))

    def _served(self, handler: Handler, refusal: Refusal) -> Callable[[Msg], Awaitable[None]]:
        async def serve(message: Msg) -> None:
            if not message.reply.startswith(subjects.inbox(subjects.USER_ROOT) + "."):
                log.warning("%s wants its answer in %r", message.subject, message.reply)
                return
            try:
                given = await handler(message)
            except OakError as error:
                given = refusal("; ".join((error.message, *error.details)))
            except wire.Malformed as error:
                given = refusal(str(error))
            await answer(self._client, message, given)

        return serve

    def _beside(self, serve: Callable[[Msg], Awaitable[None]]) -> Callable[[Msg], Awaitable[None]]:
        async def begin(message: Msg) -> None:
            async def work() -> None:
                await serve(message)

            self._tasks.start(work())

        return begin

    async def _offer(self, message: Msg) -> OfferAnswer:
        asked = wire.decode(message.data, Offer)
        return await self._core.change(
            lambda state, fleet, now: offers.offer(state, fleet, asked, now)
        )

    async def _explain(self, message: Msg) -> OfferAnswer:
        asked = wire.decode(message.data, Offer)
        return offers.explain(self._core.state, self._core.fleet, asked)

    async def _share(self, message: Msg) -> Answer:
        wanted = wire.decode(message.data, Share)
        return await self._core.change(
            lambda state, fleet, now: shares.share(state, fleet, wanted, now)
        )

    async def _state(self, _: Msg) -> ClusterState:
        return self._compose()

    async def _enrol(self, message: Msg) -> Answer:
        asked = wire.decode(message.data, Enrolment)
        await self._credentials.give(asked.worker, asked.bcrypt_hash)
        await self._core.change(
            lambda state, _, now: (membership.enrolled(state, asked.worker, now), None)
        )
        return Answer(True)

    async def _worker(self, message: Msg) -> Answer:
        asked = wire.decode(message.data, WorkerChange)
        if asked.remove:
            return await self._remove(asked.worker)
        if asked.worker not in self._core.state.workers:
            raise NotFound(f"there is no worker {asked.worker!r} in this cluster")
        if asked.drain:
            await self._core.change(
                lambda state, fleet, now: (
                    membership.drain(state, fleet, asked.worker, now),
                    None,
                )
            )
        elif asked.cordoned is not None:
            cordoned = asked.cordoned
            await self._core.change(
                lambda state, _, now: (
                    membership.cordon(state, asked.worker, cordoned=cordoned),
                    None,
                )
            )
        return Answer(True)

    async def _remove(self, worker: str) -> Answer:
        # The credential first: a worker that can still speak would be enrolled by its greeting.
        await self._credentials.take_back(worker)
        if worker in self._core.state.workers:
            await self._core.change(
                lambda state, fleet, now: (membership.remove(state, fleet, worker, now), None)
            )
        self._core.forget(worker)
        return Answer(True)

    async def _settings(self, message: Msg) -> Answer:
        asked = wire.decode(message.data, Settings)
        policy = asked.policy
        if policy is None:
            return Answer(True)
        if policy not in policies.names():
            known = ", ".join(policies.names())
            raise UsageError(f"there is no policy {policy!r} here; there are {known}")
        await self._core.change(
            lambda state, _, now: (
                replace(state, settings=replace(state.settings, policy=policy)),
                None,
            )
        )
        return Answer(True)

    async def _table(self, message: Msg) -> Answer:
        table = wire.decode(message.data, ServiceTable)
        return await self._core.change(lambda state, _, now: tables.foreign(state, table))

    async def _upload(self, message: Msg) -> UploadAnswer:
        header = (message.headers or {}).get(subjects.HEADER_UPLOAD, "")
        return await self._artifacts.take(wire.decode(header, Upload), message.data)

    async def _logs(self, message: Msg) -> LogsAnswer:
        asked = wire.decode(message.data, LogsRequest)
        worker = self._where(asked.instance)
        wait_s = min(max(asked.wait_s, 0.0), LONGEST_LOG_WAIT_S)
        subject = subjects.command(worker, subjects.CMD_LOGS)
        try:
            return await bus.ask(
                self._client,
                subject,
                replace(asked, wait_s=wait_s),
                LogsAnswer,
                timeout_s=wait_s + LOG_MARGIN_S,
            )
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            raise NotFound(f"worker {worker} does not answer for its logs") from error

    async def _session(self, message: Msg) -> SessionAnswer:
        return await serve(self.sessions, message, subjects.USER_ROOT)  # who alone is served

    def _where(self, instance: str) -> str:
        try:
            key = split_instance_name(instance)
        except ValueError as error:
            raise UsageError(str(error)) from error
        record = self._core.state.instances.get(key)
        if record is None:
            raise NotFound(f"there is no instance {instance} in this cluster")
        if not record.worker:
            raise NotFound(f"{instance} has no worker yet: {record.reason}")
        if liveness.status_of(self._core.state, self._core.presences, record.worker) == "dead":
            raise NotFound(f"worker {record.worker} is dead, and {instance} was there")
        return record.worker


def _refused(reason: str) -> Answer:
    return Answer(False, reason)


def _offer_refused(reason: str) -> OfferAnswer:
    return OfferAnswer(False, reason=reason)


def _upload_refused(reason: str) -> UploadAnswer:
    return UploadAnswer(0, reason)


def _logs_refused(reason: str) -> LogsAnswer:
    return LogsAnswer(error=reason)


def _session_refused(reason: str) -> SessionAnswer:
    return SessionAnswer(False, reason)
