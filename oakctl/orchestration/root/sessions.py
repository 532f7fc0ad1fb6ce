"""The root's end of sessions with instances.

Belongs here: finding the instance's cluster, opening a session there, and its errors in the words
of the root. Does not belong here: the client's side (`oakctl.api`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from oakctl.errors import Conflict, OakError, Unreachable
from oakctl.model import subjects
from oakctl.model.sessions import Broken, SessionAnswer, SessionOpen, SessionRequest
from oakctl.model.views import InstanceView
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.sessions import Session

OPEN_TIMEOUT_S = 20.0  # more than the cluster waits for its worker
CONNECTS_S = 10.0  # a root that was started for this call has to find its clusters first
LOOK_S = 0.05
NO_RESPONDER = "no responders"


class Sessions:
    """`instance` finds an instance by its name, `link` a cluster; both raise NotFound."""

    def __init__(
        self,
        instance: Callable[[str], Awaitable[InstanceView]],
        link: Callable[[str], Link],
    ) -> None:
        self._instance = instance
        self._link = link

    @asynccontextmanager
    async def open(self, request: SessionRequest) -> AsyncIterator[Session]:
        """A session for the length of a block; raises OakError where there can be none."""
        view = await self._instance(request.instance)
        if not view.cluster:
            raise Conflict(
                f"{view.name} has no place yet: {view.reason or 'it waits'}",
                hint=f"oakctl explain {view.job_name}",
            )
        link, id_ = self._link(view.cluster), secrets.token_hex(16)
        await _connected(link)

        async def send(frame: bytes) -> None:
            try:
                await link.frame(id_, frame)
            except OakError as error:
                raise Broken(error.message) from error

        session = Session(send, f"worker {view.worker}")
        link.frames[id_] = session.take
        try:
            await _begin(link, SessionOpen(id_, replace(request, instance=view.name)))
            yield session
        finally:
            await session.close("the client went away")
            link.frames.pop(id_, None)


async def _connected(link: Link) -> None:
    deadline = time.monotonic() + CONNECTS_S
    while time.monotonic() < deadline:
        if link.reachable:
            return
        await asyncio.sleep(LOOK_S)


async def _begin(link: Link, wanted: SessionOpen) -> None:
    wanted = replace(wanted, connection=link.connection_id)
    try:
        answer = await link.ask(
            subjects.CTL_SESSION, wanted, SessionAnswer, timeout_s=OPEN_TIMEOUT_S
        )
    except Unreachable as error:
        if NO_RESPONDER not in error.message:
            raise
        raise Unreachable(
            f"cluster {link.name} serves no sessions: its release is older than they are",
            hint=f"oakctl cluster upgrade {link.name}",
        ) from error
    if not answer.ok:
        raise Conflict(f"{wanted.request.instance}: {answer.error}", hint=answer.hint)
