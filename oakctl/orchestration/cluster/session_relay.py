"""Carries sessions between roots and workers, neither of whom can reach the other.

Belongs here: which session is between whom, passing frames on as they are, and telling one side
when the other has left the bus. Does not belong here: what is in a frame (`model.sessions`), who
may open one (`session_rules`). Nothing here is durable: a session ends with any of its four ends.

A root's frames are known by the session, which only it, we and its worker know; a worker's by its
own subject as well. Frames to a root go into its own inbox and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import sessions, subjects, wire
from oakctl.model.sessions import SessionAnswer, SessionOpen
from oakctl.orchestration import bus
from oakctl.orchestration.cluster import session_rules
from oakctl.orchestration.cluster.desk import Tasks

log = logging.getLogger("oakctl.cluster.sessions")

OPEN_TIMEOUT_S = 15.0
MOST_SESSIONS = 256
LOOK_EVERY_S = 5.0
FORGOTTEN_AFTER_S = 2 * sessions.SILENCE_S  # without a frame from either side
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass
class _Between:
    """One session."""

    worker: str
    account: str  # of the root
    connection: int  # of the root
    moved_at: float  # monotonic


class SessionRelay:
    """All sessions of a cluster. `where` names an instance's worker, or raises OakError."""

    def __init__(self, client: Client, where: Callable[[str], str], tasks: Tasks) -> None:
        self._client = client
        self._where = where
        self._tasks = tasks
        self._open: dict[str, _Between] = {}

    async def open(self, watcher: Client) -> None:
        """Begin to carry frames; `watcher` hears who leaves the bus."""
        await self._client.subscribe(subjects.frame_from_root("*"), cb=self._from_root)
        await self._client.subscribe(subjects.frame_from_worker("*", "*"), cb=self._from_worker)
        left = f"$SYS.ACCOUNT.{subjects.ACCOUNT}.DISCONNECT"
        await watcher.subscribe(left, cb=self._on_disconnect)
        self._tasks.start(self._tidy())

    async def begin(self, asked: SessionOpen, account: str) -> SessionAnswer:
        """Open a session that a root asks for; raises OakError."""
        refusal = session_rules.may_open(asked.request.kind, account)
        if not refusal and not _ID.fullmatch(asked.session):
            refusal = "that is no name for a session"
        if not refusal and (asked.session in self._open or len(self._open) >= MOST_SESSIONS):
            refusal = f"there are {len(self._open)} sessions in this cluster already"
        if refusal:
            return SessionAnswer(False, refusal)
        worker = self._where(asked.request.instance)
        between = _Between(worker, account, asked.connection, time.monotonic())
        self._open[asked.session] = between  # first: its frames may come before its answer
        try:
            subject = subjects.command(worker, subjects.CMD_SESSION)
            answer = await bus.ask(
                self._client, subject, asked, SessionAnswer, timeout_s=OPEN_TIMEOUT_S
            )
        except (NatsError, OSError, asyncio.TimeoutError, wire.Malformed) as error:
            log.info("worker %s does not open a session: %r", worker, error)
            answer = SessionAnswer(
                False,
                f"worker {worker} does not answer, or its release is older than sessions are",
                f"oakctl worker show {worker}",
            )
        if not answer.ok:
            self._open.pop(asked.session, None)
        return answer

    async def _from_root(self, message: Msg) -> None:
        session = subjects.session_of(message.subject)
        between = self._open.get(session)
        if between is None:
            if not sessions.ends(message.data):
                await self._unknown(session, message.reply)
            return
        await self._pass(session, between, message.data, to_root=False)

    async def _from_worker(self, message: Msg) -> None:
        session = subjects.session_of(message.subject)
        between = self._open.get(session)
        worker = subjects.worker_of(message.subject)
        if between is None or between.worker != worker:
            if not sessions.ends(message.data):
                await self._publish(subjects.frame_to_worker(worker, session), _gone())
            return
        await self._pass(session, between, message.data, to_root=True)

    async def _pass(self, session: str, between: _Between, frame: bytes, *, to_root: bool) -> None:
        if len(frame) > sessions.LARGEST_FRAME + sessions.LONGEST_WORDS * 6:
            await self._end(session, "a frame was larger than frames are")
            return
        between.moved_at = time.monotonic()
        if sessions.ends(frame):
            self._open.pop(session, None)
        await self._publish(_subject(session, between, to_root=to_root), frame)

    async def _unknown(self, session: str, reply: str) -> None:
        """A root of ours, or one before us, means a session that ended with us."""
        account = reply.removeprefix("_INBOX_").partition(".")[0]
        if reply == subjects.frame_to_root(account, session):
            await self._publish(reply, _gone())

    async def _on_disconnect(self, message: Msg) -> None:
        try:
            client = json.loads(message.data)["client"]
            user, connection = str(client["user"]), int(client["id"])
        except (ValueError, LookupError, TypeError) as error:
            log.warning("an advisory that can't be read: %r", error)
            return
        for session, between in tuple(self._open.items()):
            if between.worker == user:
                await self._end(session, f"the agent of worker {user} left the bus")
            elif (between.account, between.connection) == (user, connection):
                await self._end(session, "the root left the bus")

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            for session, between in tuple(self._open.items()):
                if now - between.moved_at > FORGOTTEN_AFTER_S:
                    await self._end(session, "neither side of it says anything any more")

    async def _end(self, session: str, words: str) -> None:
        between = self._open.pop(session, None)
        if between is not None:
            for to_root in (True, False):
                subject = _subject(session, between, to_root=to_root)
                await self._publish(subject, sessions.reset(words))

    async def _publish(self, subject: str, frame: bytes) -> None:
        try:
            await self._client.publish(subject, frame)
        except NatsError as error:
            log.info("a frame is lost: %r", error)


def _subject(session: str, between: _Between, *, to_root: bool) -> str:
    if to_root:
        return subjects.frame_to_root(between.account, session)
    return subjects.frame_to_worker(between.worker, session)


def _gone() -> bytes:
    return sessions.reset("the cluster does not know this session (any more)")
