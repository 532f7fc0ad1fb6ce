"""What roots say and ask: offers, shares, enrolment, settings, uploads, logs.

Each is answered when it is durable. A granted root asks below a prefix of its own, and the bus
lets it ask only what it may; its account goes with every message, and what it names is renamed
here (`accounts`). Does not belong here: what follows from a message (the pure modules).
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
    SecretsChange,
    Settings,
    Share,
    Upload,
    UploadAnswer,
    WorkerChange,
)
from oakctl.model.roots import RootGrant, RootRevocation, granted_user, is_name
from oakctl.model.service import split_instance_name
from oakctl.model.sessions import SessionAnswer, SessionOpen
from oakctl.orchestration import bus
from oakctl.orchestration.cluster import (
    accounts,
    admission,
    granted,
    liveness,
    membership,
    offers,
    shares,
    tables,
)
from oakctl.orchestration.cluster.artifacts import Artifacts
from oakctl.orchestration.cluster.audience import Audience
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.credentials import Credentials
from oakctl.orchestration.cluster.desk import Tasks, answer
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.secrets import Secrets
from oakctl.orchestration.cluster.session_relay import SessionRelay
from oakctl.orchestration.cluster.state import State
from oakctl.orchestration.cluster.token_desk import TokenDesk
from oakctl.orchestration.scheduling import policies

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.root_desk")

LONGEST_LOG_WAIT_S = 30.0
LOG_MARGIN_S = 5.0  # of the worker's answer, beyond what it was asked to wait
Handler = Callable[[Msg, str], Awaitable[Any]]  # the message, and the account of its root
Refusal = Callable[[str], Any]


class RootDesk:
    """Serves `ctl.*`."""

    def __init__(
        self,
        client: Client,
        core: Core,
        artifacts: Artifacts,
        credentials: Credentials,
        secrets: Secrets,
        tasks: Tasks,
        compose: Callable[[], ClusterState],
        audience: Audience,
        tokens: TokenDesk,
    ) -> None:
        self._client = client
        self._core = core
        self._artifacts = artifacts
        self._credentials = credentials
        self._secrets = secrets
        self._tasks = tasks
        self._compose = compose
        self._audience = audience
        self._tokens = tokens
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
            (subjects.CTL_SECRETS, self._change_secrets, _refused),
            (subjects.CTL_ROOT, self._grant, _refused),
            (subjects.CTL_REVOKE, self._revoke, _refused),
        )
        # These wait for workers and disks; others need not wait for them.
        beside: tuple[tuple[str, Handler, Refusal], ...] = (
            (subjects.CTL_LOGS, self._logs, _logs_refused),
            (subjects.CTL_UPLOAD, self._upload, _upload_refused),
            (subjects.CTL_SESSION, self._session, _session_refused),
        )
        for subject, handler, refusal in served:
            await self._listen(subject, self._served(handler, refusal))
        for subject, handler, refusal in beside:
            await self._listen(subject, self._beside(self._served(handler, refusal)))

    async def _listen(self, subject: str, serve: Callable[[Msg], Awaitable[None]]) -> None:
        await self._client.subscribe(subject, cb=serve)
        if subject in subjects.GRANTED:
            await self._client.subscribe(subjects.of_root("*", subject), cb=serve)

    def _served(self, handler: Handler, refusal: Refusal) -> Callable[[Msg], Awaitable[None]]:
        async def serve(message: Msg) -> None:
            account = subjects.root_of(message.subject)
            user = granted_user(account) if account else subjects.USER_ROOT
            if not message.reply.startswith(subjects.inbox(user) + "."):
                log.warning("%s wants its answer in %r", message.subject, message.reply)
                return
            if not self._audience.asked(account):
                return  # it was thrown out a moment ago
            try:
                given = await handler(message, account)
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

    async def _offer(self, message: Msg, account: str) -> OfferAnswer:
        asked = accounts.enter_offer(account, wire.decode(message.data, Offer))
        policy = self._audience.policy()

        def decide(state: State, fleet: Fleet, now: Now) -> tuple[State, OfferAnswer]:
            if objections := admission.of_offer(state, policy, asked):
                return state, admission.refused(state.cluster, objections)
            return offers.offer(state, fleet, asked, now)

        return await self._core.change(decide)

    async def _explain(self, message: Msg, account: str) -> OfferAnswer:
        asked = accounts.enter_offer(account, wire.decode(message.data, Offer))
        state = self._core.state
        if objections := admission.of_offer(state, self._audience.policy(), asked):
            return admission.refused(state.cluster, objections)
        return offers.explain(state, self._core.fleet, asked)

    async def _share(self, message: Msg, account: str) -> Answer:
        wanted = accounts.enter_share(account, wire.decode(message.data, Share))
        policy = self._audience.policy()

        def decide(state: State, fleet: Fleet, now: Now) -> tuple[State, Answer]:
            if objections := admission.of_share(state, policy, wanted):
                return state, Answer(False, "; ".join(objections))
            return shares.share(state, fleet, wanted, now)

        return await self._core.change(decide)

    async def _state(self, _: Msg, account: str) -> ClusterState:
        return self._audience.state(self._compose(), account)

    async def _grant(self, message: Msg, _: str) -> Answer:
        asked = wire.decode(message.data, RootGrant)
        if not is_name(asked.name):
            raise UsageError(f"{asked.name!r} can't be the name of a root")
        await self._core.change(lambda state, _, now: (granted.let_in(state, asked, now), None))
        if asked.bcrypt_hash:
            await self._credentials.give_root(asked.name, asked.bcrypt_hash)
        return Answer(True)

    async def _revoke(self, message: Msg, _: str) -> Answer:
        asked = wire.decode(message.data, RootRevocation)
        await self._credentials.take_back_root(asked.name)
        await self._core.change(lambda state, _, now: (granted.thrown_out(state, asked, now), None))
        return Answer(True)

    async def _enrol(self, message: Msg, _: str) -> Answer:
        asked = wire.decode(message.data, Enrolment)
        await self._credentials.give(asked.worker, asked.bcrypt_hash)
        await self._core.change(
            lambda state, _, now: (membership.enrolled(state, asked.worker, now), None)
        )
        return Answer(True)

    async def _worker(self, message: Msg, _: str) -> Answer:
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
        await self._tokens.worker_removed(worker, lambda: self._credentials.take_back(worker))
        if worker in self._core.state.workers:
            await self._core.change(
                lambda state, fleet, now: (membership.remove(state, fleet, worker, now), None)
            )
        self._core.forget(worker)
        return Answer(True)

    async def _settings(self, message: Msg, _: str) -> Answer:
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

    async def _table(self, message: Msg, account: str) -> Answer:
        table = accounts.enter_table(account, wire.decode(message.data, ServiceTable))

        def decide(state: State, _: Fleet, __: Now) -> tuple[State, Answer]:
            if objections := admission.address_taken(state, account, table.addresses):
                return state, Answer(False, "; ".join(objections))
            return tables.foreign(state, table)

        return await self._core.change(decide)

    async def _change_secrets(self, message: Msg, account: str) -> Answer:
        if account:
            return Answer(False, "secrets here are the owner's alone")
        asked = wire.decode(message.data, SecretsChange)
        try:
            self._secrets.change(asked)
        except OSError as error:
            return Answer(False, f"a secret can't be stored here: {error.strerror}")
        return Answer(True)

    async def _upload(self, message: Msg, _: str) -> UploadAnswer:
        header = (message.headers or {}).get(subjects.HEADER_UPLOAD, "")
        return await self._artifacts.take(wire.decode(header, Upload), message.data)

    async def _logs(self, message: Msg, account: str) -> LogsAnswer:
        asked = accounts.enter_logs(account, wire.decode(message.data, LogsRequest))
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

    async def _session(self, message: Msg, account: str) -> SessionAnswer:
        asked = wire.decode(message.data, SessionOpen)
        if not account:
            return await self.sessions.begin(asked, subjects.USER_ROOT)
        instance = accounts.inside_instance(account, asked.request.instance)
        own = replace(asked, request=replace(asked.request, instance=instance))
        return await self.sessions.begin(own, granted_user(account))

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
