"""Opens sessions with instances of this node, and keeps them until they end.

Belongs here: which kind of session is served by what, limits, and their end with the agent. Does
not belong here: who may open one, which the cluster decides.
"""

from __future__ import annotations

import asyncio
import logging
import pkgutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from nats.errors import Error as NatsError

from oakctl.model import sessions
from oakctl.model.sessions import Broken, Ended, SessionAnswer, SessionOpen, SessionRequest
from oakctl.orchestration.sessions import Session, stop
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.containers import Containers
from oakctl.orchestration.worker.processes import ProcessRuntime
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import CONTAINER, PROCESS
from oakctl.orchestration.worker.sessions import execution, forward

log = logging.getLogger("oakctl.worker.sessions")

MOST_SESSIONS = 64
IDLE_S = 8 * 3600.0  # without a byte either way
CLOSE_S = 10.0
CLOSING = "the agent of the worker ends"


class SessionDesk:
    """All sessions of this node. `running` and `address` are those of `Instances`."""

    def __init__(
        self,
        running: Callable[[], Mapping[str, Record]],
        address: Callable[[Record], str],
        processes: ProcessRuntime,
        containers: Containers,
        launcher: str,
        send: Callable[[str, bytes], Awaitable[None]],
    ) -> None:
        self._running = running
        self._address = address
        self._processes = processes
        self._containers = containers
        self._launcher = launcher
        self._send = send
        self._open: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, asked: SessionOpen) -> SessionAnswer:
        """Begin a session; what goes wrong later is the last that it says."""
        request = asked.request
        known = self._running().get(request.instance)
        if known is None:
            return SessionAnswer(
                False,
                f"{request.instance} does not run",
                f"oakctl instance show {request.instance}",
            )
        if asked.session in self._open or len(self._open) >= MOST_SESSIONS:
            return SessionAnswer(False, f"this worker has {len(self._open)} sessions already")
        refusal = _refusal(request, known)
        if refusal:
            return SessionAnswer(False, refusal)

        async def send(frame: bytes) -> None:
            try:
                await self._send(asked.session, frame)  # the bus's own pings end a wait here
            except NatsError as error:
                raise Broken("the worker lost the bus of its cluster") from error

        session = Session(send, "the root")
        self._open[asked.session] = session
        task = asyncio.get_running_loop().create_task(self._serve(asked, session, known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return SessionAnswer(True)

    def frame(self, session: str, frame: bytes) -> None:
        """A frame came; one of a session that has ended is of no interest."""
        found = self._open.get(session)
        if found is not None:
            found.take(frame)

    async def close(self) -> None:
        """End all: what was started for a session does not outlive it."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)  # what they have started ends meanwhile
        await stop(*tasks)

    async def _serve(self, asked: SessionOpen, session: Session, known: Record) -> None:
        request = asked.request
        log.info("%s: a session begins: %s", known.name, request.kind)
        idle = asyncio.get_running_loop().create_task(_end_when_idle(session))
        words = CLOSING
        try:
            await session.end(await self._run(session, request, known))
        except Broken as broken:
            words = str(broken)
        except (OSError, ValueError) as error:
            words = storage.in_words(error) if isinstance(error, OSError) else str(error)
        finally:
            idle.cancel()
            self._open.pop(asked.session, None)
            log.info("%s: a session ends: %s", known.name, request.kind)
            await session.close(words)

    async def _run(self, session: Session, request: SessionRequest, known: Record) -> Ended:
        if request.kind == sessions.FORWARD:
            return await forward.run(session, self._address(known), request.port)
        if known.desired.service.virtualization == CONTAINER:
            return await self._in_container(session, request, known)
        order = self._processes.order(known)
        order.update(argv=list(request.command), tty=request.tty)
        if request.tty and request.term:
            order["environment"]["TERM"] = request.term
        if request.kind != sessions.EXEC:
            order, request = _copying(order, request)
        return await execution.run(session, order, self._launcher, request)

    async def _in_container(
        self, session: Session, request: SessionRequest, known: Record
    ) -> Ended:
        executions = self._containers.executions
        if executions is None:
            return Ended(1, "there is no Docker on its worker now")
        if request.kind == sessions.EXEC:
            return await executions.run(session, known, request)
        if request.kind == sessions.COPY_IN:
            return await executions.copy_in(session, known, request.path)
        return await executions.copy_out(session, known, request.path)


def _refusal(request: SessionRequest, known: Record) -> str:
    kind = known.desired.service.virtualization
    if request.kind not in sessions.KINDS or kind not in (PROCESS, CONTAINER):
        return f"this worker knows no sessions of kind {request.kind[:20]!r} with a {kind[:20]!r}"
    if request.kind == sessions.FORWARD:
        return sessions.not_forwarded(known.desired.service, request.port)
    if request.kind == sessions.EXEC and not request.command:
        return "there is no command to run"
    return ""


def _copying(
    order: dict[str, Any], request: SessionRequest
) -> tuple[dict[str, Any], SessionRequest]:
    """Files are read and written by a program as the instance's own user, which so can reach what
    the instance can. Outside of its groups: it shall not be killed for the memory of a copy."""
    source = (pkgutil.get_data("oakctl.orchestration", "copying.py") or b"").decode()
    what = "unpack" if request.kind == sessions.COPY_IN else "pack"
    changed = {**order, "source": source, "argv": [what, request.path], "cgroups": [], "tty": False}
    return changed, replace(request, stdin=True, tty=False)


async def _end_when_idle(session: Session) -> None:
    while True:
        left = session.moved_at + IDLE_S - time.monotonic()
        if left <= 0:
            break
        await asyncio.sleep(left)
    session.break_off(f"nothing was said in it for {IDLE_S / 3600:.0f} hours")
