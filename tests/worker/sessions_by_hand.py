"""The cluster's and the root's side of a session with an agent, in a few lines."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from oakctl.model import subjects
from oakctl.model.sessions import (
    STDERR,
    STDOUT,
    Closed,
    Data,
    Ended,
    SessionAnswer,
    SessionOpen,
    SessionRequest,
)
from oakctl.orchestration.bus import ask
from oakctl.orchestration.sessions import Session
from tests.worker.stage import WORKER, Orchestrator

ANSWER_S = 30.0


class Refused(Exception):
    """The worker opened none."""


@asynccontextmanager
async def opened(orchestrator: Orchestrator, request: SessionRequest) -> AsyncIterator[Session]:
    """A session with the worker; raises Refused with its words."""
    client, id_ = orchestrator.client, secrets.token_hex(16)

    async def send(frame: bytes) -> None:
        await client.publish(subjects.frame_to_worker(WORKER, id_), frame)

    session = Session(send, "the worker")

    async def take(message: Msg) -> None:
        session.take(message.data)

    subscription = await client.subscribe(subjects.frame_from_worker(WORKER, id_), cb=take)
    try:
        subject = subjects.command(WORKER, subjects.CMD_SESSION)
        wanted = SessionOpen(id_, request)
        answer = await ask(client, subject, wanted, SessionAnswer, timeout_s=ANSWER_S)
        if not answer.ok:
            raise Refused(answer.error)
        yield session
    finally:
        await session.close()
        await subscription.unsubscribe()


async def rest_of(session: Session) -> tuple[bytes, bytes, Ended]:
    """Everything to its end: standard output, standard error, the last word."""
    streams = {STDOUT: b"", STDERR: b""}
    while not isinstance(event := await session.read(), Ended):
        if isinstance(event, Data):
            streams[event.channel] += event.data
        else:
            assert isinstance(event, Closed)
    return streams[STDOUT], streams[STDERR], event


async def line_of(session: Session) -> bytes:
    """The first line of output."""
    line = b""
    while not line.endswith(b"\n"):
        event = await session.read()
        assert isinstance(event, Data), event
        line += event.data
    return line
