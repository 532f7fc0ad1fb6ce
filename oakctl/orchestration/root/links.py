"""A cluster's link: the tunnel, the bus client in it, and the last the cluster said.

Belongs here: asking, listening, and knowing whether the cluster is reachable. Does not belong
here: what follows from what it says (`root.driver`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.errors import OakError, Unreachable
from oakctl.model import subjects, wire
from oakctl.model.config import BusAccess
from oakctl.model.instance import InstanceStatistics
from oakctl.model.messages import (
    Answer,
    ClusterEvent,
    ClusterState,
    ClusterStatistics,
    WorkerSummary,
)
from oakctl.orchestration import bus

T = TypeVar("T")
log = logging.getLogger("oakctl.root.links")

# A cluster speaks every second.
SILENCE_S = 5.0
ASK_TIMEOUT_S = 5.0
REFUSED_RETRY_S = 5.0
CLOSE_TIMEOUT_S = 3.0


class TunnelLike(Protocol):
    """A forwarded port that somebody keeps up; the port stays the same for its life."""

    @property
    def local_port(self) -> int:
        """On 127.0.0.1."""

    @property
    def connected(self) -> bool:
        """Whether it leads anywhere now."""

    @property
    def last_error(self) -> str:
        """Why not."""

    async def start(self) -> None:
        """Begin to keep it up."""

    async def close(self) -> None:
        """Stop."""


class Listener(Protocol):
    """Who is told what a link hears."""

    def cluster_changed(self, link: Link) -> None:
        """Its state, its statistics or its reachability is another than before."""

    async def cluster_event(self, event: ClusterEvent) -> None:
        """Store an event; it is acknowledged when this returns."""


class Link:
    """One cluster, kept in reach."""

    def __init__(
        self,
        name: str,
        access: BusAccess,
        tunnel: TunnelLike,
        listener: Listener,
        account: str = "",
    ) -> None:
        self.name = name
        self.account = account  # as a granted root in another operator's cluster
        self.state: ClusterState | None = None
        self.statistics: dict[tuple[str, int], InstanceStatistics] = {}
        self.last_seen = 0.0  # seconds since the epoch
        self.confirmed: dict[str, int] = {}  # share revisions that `state` is newer than
        self.frames: dict[str, Callable[[bytes], None]] = {}  # session → who takes its frames
        self._access = access
        self._tunnel = tunnel
        self._listener = listener
        self._client: Client | None = None
        self._refused = ""
        self._heard_at = float("-inf")  # monotonic
        self._was_reachable = False
        self._past_sessions: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def reachable(self) -> bool:
        """Whether the cluster orchestrator spoke a moment ago and can be asked."""
        connected = self._client is not None and self._client.is_connected
        return connected and time.monotonic() - self._heard_at < SILENCE_S

    @property
    def workers(self) -> frozenset[str]:
        """The names of the workers it has; none while it is not reachable."""
        if self.state is None or not self.reachable:
            return frozenset()
        return frozenset(worker.name for worker in self.state.workers)

    @property
    def reason(self) -> str:
        """Why it is not reachable; empty when it is."""
        if self.reachable:
            return ""
        if self._refused:
            return f"its bus refuses the root: {self._refused}"
        if not self._tunnel.connected:
            return f"no tunnel to its host: {self._tunnel.last_error or 'not connected yet'}"
        if self._client is None or not self._client.is_connected:
            return "its bus does not answer"
        silent = time.monotonic() - self._heard_at
        if math.isinf(silent):
            return "its orchestrator has not answered yet"
        return f"its orchestrator has been silent for {silent:.0f} s"

    async def start(self) -> None:
        """Begin to connect; returns at once, and the link is kept up until `close`."""
        self._spawn(self._run())

    async def close(self) -> None:
        """Give up tunnel and client."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._close_client(self._client)
        await self._tunnel.close()

    async def ask(
        self, subject: str, message: Any, kind: type[T], *, timeout_s: float = ASK_TIMEOUT_S
    ) -> T:
        """The cluster orchestrator's answer; raises Unreachable when there is none."""
        client = self._connected_client()
        try:
            own = subjects.of_root(self.account, subject)
            return await bus.ask(client, own, message, kind, timeout_s=timeout_s)
        except (NatsError, asyncio.TimeoutError, OSError) as error:
            raise self._unanswered(subject, error) from error
        except wire.Malformed as error:
            raise OakError(f"cluster {self.name} answered {subject} with {error}") from error

    async def send_bytes(
        self, subject: str, body: bytes, headers: dict[str, str], kind: type[T], timeout_s: float
    ) -> T:
        """Like `ask`, for bytes that a header describes."""
        client = self._connected_client()
        try:
            own = subjects.of_root(self.account, subject)
            answer = await client.request(own, body, timeout=timeout_s, headers=headers)
            return wire.decode(answer.data, kind)
        except (NatsError, asyncio.TimeoutError, OSError) as error:
            raise self._unanswered(subject, error) from error
        except wire.Malformed as error:
            raise OakError(f"cluster {self.name} answered {subject} with {error}") from error

    @property
    def connection_id(self) -> int:
        """Which connection of the bus this is; raises Unreachable."""
        return int(self._connected_client().client_id or 0)

    async def frame(self, session: str, frame: bytes) -> None:
        """Send a frame of a session; raises Unreachable."""
        client = self._connected_client()
        reply = subjects.frame_to_root(self._access.user, session)
        try:
            await client.publish(subjects.frame_from_root(session), frame, reply=reply)
        except (NatsError, OSError) as error:
            raise self._unanswered("a session", error) from error

    async def order(self, subject: str, message: Any) -> None:
        """Have something done; raises OakError when the cluster says it was not."""
        answer = await self.ask(subject, message, Answer)
        if not answer.ok:
            raise OakError(f"cluster {self.name}: {answer.error}")

    async def refresh(self) -> ClusterState:
        """Ask for everything: what is adopted is newer than all that was done before."""
        state = await self.ask(subjects.CTL_STATE, b"", ClusterState)
        self._adopt(state)
        return state

    def look(self) -> None:
        """Tell the listener when reachability changed since it was last looked at."""
        if self.reachable != self._was_reachable:
            self._was_reachable = self.reachable
            self._listener.cluster_changed(self)

    def show(self, state: ClusterState, seen_at: float) -> None:
        """What was known before this process: shown with its age until the cluster speaks."""
        if self.state is None:
            self.state, self.last_seen = state, seen_at

    # --- the connection ---

    async def _run(self) -> None:
        await self._tunnel.start()
        access = replace(self._access, url=f"tls://127.0.0.1:{self._tunnel.local_port}")
        while self._client is None:
            try:
                self._client = await bus.connect(
                    access,
                    name=f"root of {self.name}",
                    on_reconnected=self._connected,
                    on_refused=self._on_refused,
                )
            except (NatsError, asyncio.TimeoutError, OSError) as error:
                await self._on_refused(str(error))
                await asyncio.sleep(REFUSED_RETRY_S)
        for subject, handler in (
            (subjects.of_root(self.account, subjects.UP_STATE), self._on_state),
            (subjects.of_root(self.account, subjects.UP_STATISTICS), self._on_statistics),
            (subjects.of_root(self.account, subjects.UP_EVENT), self._on_event),
            # Into our own inbox, whoever's root we are.
            (subjects.frame_to_root(self._access.user, "*"), self._on_frame),
        ):
            await self._client.subscribe(subject, cb=handler)
        await self._connected()

    async def _connected(self) -> None:
        self._refused = ""
        self._spawn(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            await self.refresh()
        except OakError as error:
            # Its next state comes by itself, within a second of its start.
            log.info("cluster %s: %s", self.name, error)

    async def _on_refused(self, text: str) -> None:
        self._refused = text
        log.warning("cluster %s: the bus refuses the root: %s", self.name, text)

    async def _close_client(self, client: Client) -> None:
        try:
            await asyncio.wait_for(client.close(), CLOSE_TIMEOUT_S)
        except (NatsError, asyncio.TimeoutError, OSError) as error:
            log.info("cluster %s: closing: %s", self.name, error)

    def _connected_client(self) -> Client:
        # A request while the bus is away would be buffered, and arrive when nobody waits for it.
        if self._client is None or not self._client.is_connected:
            raise self._unreachable()
        return self._client

    def _unreachable(self) -> Unreachable:
        return Unreachable(
            f"cluster {self.name} is not reachable: {self.reason or 'connecting'}",
            hint=f"oakctl cluster show {self.name}",
        )

    def _unanswered(self, subject: str, error: BaseException) -> Unreachable:
        cause = str(error) or type(error).__name__
        return Unreachable(
            f"cluster {self.name} does not answer {subject} ({cause})",
            hint=f"oakctl cluster show {self.name}",
        )

    # --- what it says ---

    async def _on_state(self, message: Msg) -> None:
        try:
            self._adopt(wire.decode(message.data, ClusterState))
        except wire.Malformed as error:
            log.warning("cluster %s: %s", self.name, error)

    def _adopt(self, state: ClusterState) -> None:
        """Every state is whole, so a gap in `seq` loses nothing; only a late one is ignored."""
        if state.session in self._past_sessions:
            return
        known = self.state
        if known is not None and known.session == state.session and state.seq < known.seq:
            return
        if known is not None and known.session != state.session:
            self._past_sessions.add(known.session)
            self.confirmed.clear()
        self.state = state
        self._heard_at, self.last_seen = time.monotonic(), time.time()
        self._was_reachable = self.reachable
        self._listener.cluster_changed(self)

    async def _on_statistics(self, message: Msg) -> None:
        try:
            statistics = wire.decode(message.data, ClusterStatistics)
        except wire.Malformed as error:
            log.warning("cluster %s: %s", self.name, error)
            return
        self.statistics = {(i.job_name, i.number): _finite(i) for i in statistics.instances}

    async def _on_event(self, message: Msg) -> None:
        try:
            event = wire.decode(message.data, ClusterEvent)
        except wire.Malformed as error:
            # Answered all the same: it would be sent again for ever.
            log.warning("cluster %s: %s", self.name, error)
        else:
            await self._listener.cluster_event(replace(event, cluster=self.name))
        await message.respond(wire.encode(Answer(True)))

    async def _on_frame(self, message: Msg) -> None:
        take = self.frames.get(subjects.session_of(message.subject))
        if take is not None:
            take(message.data)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"link {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._refused = f"{type(error).__name__}: {error}"
            log.error("cluster %s: link broke", self.name, exc_info=error)


def summary(link: Link, worker: str) -> WorkerSummary | None:
    """What the cluster says of one of its workers."""
    workers = link.state.workers if link.state is not None else ()
    return next((found for found in workers if found.name == worker), None)


def _finite(statistics: InstanceStatistics) -> InstanceStatistics:
    """JSON has no infinities, and a metric of a foreign program may be one."""
    metrics = {name: v for name, v in statistics.metrics.items() if math.isfinite(v)}
    return replace(statistics, metrics=metrics)
