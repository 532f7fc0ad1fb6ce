"""The agent on its cluster's bus: what it asks, tells and is told.

Belongs here: subjects, deadlines and what is done after a reconnect. Does not belong here: what
a document leads to (`agent`), or how one connects (`orchestration.bus`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.asking import AddressesAnswer, AddressesRequest
from oakctl.model.config import WorkerConfig
from oakctl.model.documents import (
    DesiredDocument,
    Heartbeat,
    Report,
    StatisticsReport,
    TablesDocument,
)
from oakctl.model.messages import (
    PROTOCOL,
    ChunkRequest,
    DocumentRequest,
    Greeting,
    GreetingAnswer,
    LoginAnswer,
    LoginRequest,
    LogsAnswer,
    LogsRequest,
    ReportAnswer,
    SecretsAnswer,
    SecretsRequest,
)
from oakctl.model.node import NodeFacts
from oakctl.model.overlay_asking import NodeSight, OverlayLook
from oakctl.model.overlay_report import OverlayReport
from oakctl.model.secrets import SecretValue
from oakctl.model.sessions import SessionAnswer, SessionOpen
from oakctl.orchestration import bus, waits
from oakctl.orchestration.worker.fetching import Chunk, NotDelivered

log = logging.getLogger("oakctl.worker.link")

T = TypeVar("T")

ANSWER_TIMEOUT_S = 3.0
CHUNK_TIMEOUT_S = 15.0
CATCH_UP_S = 30.0  # how often documents are asked for without any sign that one was missed
RETRY_S = 1.0
CLOSE_TIMEOUT_S = 2.0
MOST_LOG_READERS = 64

_FAILURES = (NatsError, asyncio.TimeoutError, wire.Malformed)


class Refused(Exception):
    """The cluster wants no word from this worker; the text says why."""


@dataclass(frozen=True)
class Listeners:
    """What the agent does with what it is told."""

    desired: Callable[[DesiredDocument], None]
    tables: Callable[[TablesDocument], None]
    logs: Callable[[LogsRequest], Awaitable[LogsAnswer]]
    session: Callable[[SessionOpen], Awaitable[SessionAnswer]]
    overlay: Callable[[OverlayLook], Awaitable[NodeSight]]
    frame: Callable[[str, bytes], None]  # of which session, and what came
    caught_up: Callable[[GreetingAnswer], None]
    revisions: Callable[[], tuple[int, int]]  # of the desired and the tables document


class Link:
    """One worker's connection to its cluster, for the life of the agent."""

    def __init__(
        self, config: WorkerConfig, agent_id: str, facts: NodeFacts, listeners: Listeners
    ) -> None:
        self._config = config
        self._worker = config.worker
        self._greeting = Greeting(config.worker, agent_id, PROTOCOL, facts)
        self._listeners = listeners
        self._client: Client | None = None
        self._behind = asyncio.Event()  # we (re)connected and have not caught up
        self._refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._log_readers: set[asyncio.Task[None]] = set()
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        return self._client is not None and self._client.is_connected

    async def run(self) -> None:
        """Connect, catch up, and stay so; ends only by being cancelled or with Refused."""
        work = asyncio.ensure_future(self._connect_and_catch_up())
        self._refused.add_done_callback(lambda _: work.cancel())
        try:
            await work
        except asyncio.CancelledError:
            if self._refused.done():
                raise Refused(self._refused.result()) from None
            raise
        finally:
            await self._close()

    def tell(self, facts: NodeFacts) -> None:
        """The facts changed: greet again with these, at once or when the bus is back."""
        self._greeting = replace(self._greeting, facts=facts)
        self._behind.set()

    async def chunk(self, sha256: str, offset: int, length: int) -> Chunk:
        """A piece of an artifact; raises NotDelivered."""
        try:
            subject = subjects.ask(self._worker, subjects.ASK_CHUNK)
            request = ChunkRequest(sha256, offset, length)
            answer = await self._request(subject, request, CHUNK_TIMEOUT_S)
        except _FAILURES as error:
            raise NotDelivered(f"the cluster does not answer ({_words(error)})") from error
        headers = answer.headers or {}
        if headers.get(subjects.HEADER_ERROR):
            raise NotDelivered(f"the cluster has none: {headers[subjects.HEADER_ERROR]}")
        size = headers.get(subjects.HEADER_SIZE, "")
        if not size.isdigit():
            raise NotDelivered(f"the cluster's answer has no {subjects.HEADER_SIZE}")
        return Chunk(answer.data, int(size))

    async def secrets(self, instance: str) -> SecretsAnswer:
        """The secrets of an instance of this worker; raises NotDelivered."""
        subject = subjects.ask(self._worker, subjects.ASK_SECRETS)
        try:
            return await self._ask(subject, SecretsRequest(instance), SecretsAnswer)
        except _FAILURES as error:
            raise NotDelivered(f"the cluster does not answer ({_words(error)})") from error

    async def login(self, image: str) -> SecretValue | None:
        """Who this node is to the image's registry; None: nobody. Raises NotDelivered."""
        subject = subjects.ask(self._worker, subjects.ASK_LOGIN)
        try:
            answer = await self._ask(subject, LoginRequest(image), LoginAnswer)
        except _FAILURES as error:
            raise NotDelivered(f"the cluster does not answer ({_words(error)})") from error
        if answer.error:
            raise NotDelivered(f"the cluster gives no login: {answer.error}")
        return answer.login

    async def addresses(self, asked: tuple[str, ...]) -> frozenset[str]:
        """Those of these service addresses that a service has; raises NotDelivered."""
        subject = subjects.ask(self._worker, subjects.ASK_ADDRESSES)
        try:
            answer = await self._ask(subject, AddressesRequest(asked), AddressesAnswer)
        except _FAILURES as error:
            raise NotDelivered(f"the cluster does not answer ({_words(error)})") from error
        return frozenset(answer.known)

    async def report(self, report: Report) -> bool:
        """Whether the report is durable in the cluster."""
        subject = subjects.observed(self._worker, subjects.OBS_REPORT)
        try:
            answer = await self._ask(subject, report, ReportAnswer)
        except _FAILURES as error:
            log.info("report %d is not acknowledged (%s)", report.seq, _words(error))
            return False
        return answer.seq == report.seq

    async def heartbeat(self, beat: Heartbeat) -> None:
        """Tell that we live; not at all while the bus is away."""
        await self._publish(subjects.heartbeat(self._worker), beat)

    async def statistics(self, report: StatisticsReport) -> None:
        """Tell what instances use; not at all while the bus is away."""
        await self._publish(subjects.observed(self._worker, subjects.OBS_STATISTICS), report)

    async def overlay(self, report: OverlayReport) -> None:
        """Tell of the overlay; not at all while the bus is away."""
        await self._publish(subjects.observed(self._worker, subjects.OBS_OVERLAY), report)

    async def frame(self, session: str, frame: bytes) -> None:
        """Send a frame of a session; raises NatsError."""
        if self._client is None or not self._client.is_connected:
            raise NatsError("not connected")
        await self._client.publish(subjects.frame_from_worker(self._worker, session), frame)

    async def _connect_and_catch_up(self) -> None:
        try:
            self._client = await bus.connect(
                self._config.bus,
                name=self._worker,
                on_reconnected=self._on_reconnected,
                on_disconnected=self._on_disconnected,
                on_refused=self._on_refused,
            )
        except NatsError as error:
            raise Refused(str(error)) from error
        log.info("bus: connected to %s", self._config.bus.url)
        await self._subscribe(self._client)
        self._behind.set()
        while True:
            greet = await waits.set_within(self._behind, CATCH_UP_S)
            self._behind.clear()
            if self.connected and not await self._catch_up(greet):
                await asyncio.sleep(RETRY_S)
                self._behind.set()

    async def _subscribe(self, client: Client) -> None:
        for what, callback in (
            (subjects.CMD_DESIRED, self._on_desired),
            (subjects.CMD_TABLES, self._on_tables),
            (subjects.CMD_LOGS, self._on_logs),
            (subjects.CMD_SESSION, self._on_session),
            (subjects.CMD_OVERLAY, self._on_overlay),
            (subjects.CMD_FRAMES, self._on_frame),
        ):
            await client.subscribe(subjects.command(self._worker, what), cb=callback)

    async def _catch_up(self, greet: bool) -> bool:
        """Greet, and ask for what may have been missed; whether that worked."""
        try:
            answer = await self._greet() if greet else None
            desired, tables = self._listeners.revisions()
            found = await self._document(subjects.ASK_DESIRED, desired, DesiredDocument)
            if found is not None:
                self._listeners.desired(found)
            table = await self._document(subjects.ASK_TABLES, tables, TablesDocument)
            if table is not None:
                self._listeners.tables(table)
        except _FAILURES as error:
            log.info("the orchestrator does not answer (%s); asking again", _words(error))
            return False
        if answer is not None:
            self._listeners.caught_up(answer)
        return True

    async def _greet(self) -> GreetingAnswer:
        subject = subjects.ask(self._worker, subjects.ASK_GREETING)
        answer = await self._ask(subject, self._greeting_here(), GreetingAnswer)
        if not answer.accepted:
            await self._on_refused(answer.reason or "the greeting was not accepted")
        return answer

    def _greeting_here(self) -> Greeting:
        """With where the bus sees us: another address than our own is a router's."""
        seen = (self._client.client_ip if self._client is not None else "") or ""
        facts = replace(self._greeting.facts, seen_address=seen)
        return replace(self._greeting, facts=facts)

    async def _document(self, what: str, have: int, kind: type[T]) -> T | None:
        subject = subjects.ask(self._worker, what)
        request = DocumentRequest(self._worker, have)
        answer = await self._request(subject, request, ANSWER_TIMEOUT_S)
        return wire.decode(answer.data, kind) if answer.data else None

    async def _ask(self, subject: str, message: Any, kind: type[T]) -> T:
        answer = await self._request(subject, message, ANSWER_TIMEOUT_S)
        return wire.decode(answer.data, kind)

    async def _request(self, subject: str, message: Any, timeout_s: float) -> Msg:
        # nats-py would keep a request for later, and wait in vain for its answer.
        if self._client is None or not self._client.is_connected:
            raise NatsError("not connected")
        return await self._client.request(subject, wire.encode(message), timeout=timeout_s)

    async def _publish(self, subject: str, message: Any) -> None:
        if self._client is not None and self._client.is_connected:
            try:
                await self._client.publish(subject, wire.encode(message))
            except NatsError as error:
                log.info("%s was not sent (%s)", subject, _words(error))

    async def _on_desired(self, message: Msg) -> None:
        with _reported(message):
            self._listeners.desired(wire.decode(message.data, DesiredDocument))

    async def _on_tables(self, message: Msg) -> None:
        with _reported(message):
            self._listeners.tables(wire.decode(message.data, TablesDocument))

    async def _on_logs(self, message: Msg) -> None:
        with _reported(message):
            request = wire.decode(message.data, LogsRequest)
            if len(self._log_readers) >= MOST_LOG_READERS:
                busy = LogsAnswer(next_offset=request.offset, error="too many read logs here")
                await message.respond(wire.encode(busy))
                return
            # A task of its own: this one may wait for news, the next one shall not wait for it.
            task = asyncio.get_running_loop().create_task(self._answer_logs(message, request))
            self._log_readers.add(task)
            task.add_done_callback(self._log_readers.discard)

    async def _on_session(self, message: Msg) -> None:
        with _reported(message):
            answer = await self._listeners.session(wire.decode(message.data, SessionOpen))
            with contextlib.suppress(NatsError):  # nobody would know of it then, and it ends
                await message.respond(wire.encode(answer))

    async def _on_overlay(self, message: Msg) -> None:
        with _reported(message):
            asked = wire.decode(message.data, OverlayLook)
            # As with logs: what is tried for it takes seconds.
            task = asyncio.get_running_loop().create_task(self._answer_overlay(message, asked))
            self._beside.add(task)
            task.add_done_callback(self._beside.discard)

    async def _answer_overlay(self, message: Msg, asked: OverlayLook) -> None:
        answer = await self._listeners.overlay(asked)
        with contextlib.suppress(NatsError):  # whoever asked asks again
            await message.respond(wire.encode(answer))

    async def _on_frame(self, message: Msg) -> None:
        self._listeners.frame(subjects.session_of(message.subject), message.data)

    async def _answer_logs(self, message: Msg, request: LogsRequest) -> None:
        answer = await self._listeners.logs(request)
        try:
            await message.respond(wire.encode(answer))
        except NatsError as error:
            log.info("logs of %s were not sent (%s)", request.instance, _words(error))

    async def _on_reconnected(self) -> None:
        log.info("bus: connected again")
        self._behind.set()

    async def _on_disconnected(self) -> None:
        log.warning("bus: the connection is lost")

    async def _on_refused(self, reason: str) -> None:
        if not self._refused.done():
            self._refused.set_result(reason)

    async def _close(self) -> None:
        answering = [*self._log_readers, *self._beside]
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        if self._client is not None:
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._client.close(), CLOSE_TIMEOUT_S)


@contextlib.contextmanager
def _reported(message: Msg) -> Any:
    """A message that is not understood is reported and changes nothing."""
    try:
        yield
    except wire.Malformed as error:
        log.warning("%s: %s", message.subject, error)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
