"""What is said about tokens: the root has them made, a machine uses one.

A token has a bus user of its own, which may ask `join.<id>` and hear its own inbox, nothing else.
Its use is durable before it is answered; the worker's credential is in force by then. Does not
belong here: whether a token is taken (`tokens`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.errors import Conflict, OakError
from oakctl.model import subjects, wire
from oakctl.model.messages import Answer
from oakctl.model.tokens import OPEN, JoinAnswer, JoinRequest, TokenOrder, token_user
from oakctl.orchestration.cluster import bus_server, clock, liveness, membership, tokens
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.credentials import Credentials
from oakctl.orchestration.cluster.desk import answer, read
from oakctl.orchestration.cluster.tokens import Token, Tokens

log = logging.getLogger("oakctl.cluster.tokens")

TIDY_S = 5.0
READY = "ready"
REMOVED = "the worker was removed"


class TokenDesk:
    """Serves `ctl.invite` and `join.*`."""

    def __init__(
        self,
        client: Client,
        core: Core,
        credentials: Credentials,
        kept: Tokens,
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._core = core
        self._credentials = credentials
        self._kept = kept
        self._changed = changed
        self._lock = asyncio.Lock()  # a use and a revocation are one after the other

    async def open(self) -> None:
        """Begin to serve."""
        await self._client.subscribe(subjects.CTL_INVITE, cb=self._on_order)
        await self._client.subscribe(subjects.join("*"), cb=self._on_join)

    async def tidy(self) -> None:
        """Now and then, drop what is not needed any more; ends only by being cancelled."""
        while True:
            await asyncio.sleep(TIDY_S)
            async with self._lock:
                try:
                    await self._tidy(clock.read().wall)
                except OakError as error:
                    log.warning("tokens are not tidied now: %s", error.message)

    async def worker_removed(self, worker: str, cut_off: Callable[[], Awaitable[None]]) -> None:
        """Revoke what tokens a worker has, then `cut_off`: none of them makes it anew."""
        async with self._lock:
            for token in self._kept.all:
                if token.worker == worker and not token.revoked:
                    self._put(_revoked(token))
            await cut_off()

    async def _tidy(self, now: float) -> None:
        for token in self._kept.all:
            left = tokens.tidied(token, self._is_ready(token.worker), now)
            if left is None:
                await self._credentials.take_back_token(token.id)
                self._kept.drop(token.id)
                self._changed()
            elif left != token:
                self._put(left)

    async def _on_order(self, message: Msg) -> None:
        if not message.reply.startswith(subjects.inbox(subjects.USER_ROOT) + "."):
            log.warning("%s wants its answer in %r", message.subject, message.reply)
            return
        try:
            await self._take_in(wire.decode(message.data, TokenOrder))
            given = Answer(True)
        except OakError as error:
            given = Answer(False, "; ".join((error.message, *error.details)))
        except wire.Malformed as error:
            given = Answer(False, str(error))
        await answer(self._client, message, given)

    async def _take_in(self, order: TokenOrder) -> None:
        bus_server.check_worker_name(order.worker)
        async with self._lock:
            if self._kept.get(order.id) is None:
                now = clock.read().wall
                if order.worker in self._core.state.workers or any(
                    token.worker == order.worker and token.state(now) == OPEN
                    for token in self._kept.all
                ):
                    raise Conflict(f"{order.worker} is a worker of this cluster, or is to be one")
                self._put(tokens.made(order, now))
            await self._credentials.give_token(order.id, order.bcrypt_hash)

    async def _on_join(self, message: Msg) -> None:
        id = subjects.token_of(message.subject)
        if not message.reply.startswith(subjects.inbox(token_user(id)) + "."):
            log.warning("%s wants its answer in %r", message.subject, message.reply)
            return
        asked = read(message, JoinRequest)
        if asked is None:
            return
        try:
            async with self._lock:
                given = await self._join(id, asked)
        except OakError as error:
            given = JoinAnswer(False, error.message)
        if not given.accepted:
            log.warning("token %s is refused: %s", id, given.reason)
        await answer(self._client, message, given)

    async def _join(self, id: str, asked: JoinRequest) -> JoinAnswer:
        now = clock.read().wall
        token = self._kept.get(id)
        if token is None:
            return JoinAnswer(False, "the cluster does not know this token")
        reason = tokens.refusal(token, asked.claim, now)
        if reason:
            return JoinAnswer(False, reason)
        # Durable before anybody has the credential: of two that ask, one is told.
        self._put(tokens.used(token, asked.claim, asked.machine, now))
        await self._credentials.give(token.worker, token.worker_hash)
        await self._core.change(
            lambda state, _, at: (membership.enrolled(state, token.worker, at), None)
        )
        return JoinAnswer(True, secret=token.worker_secret, is_ready=self._is_ready(token.worker))

    def _put(self, token: Token) -> None:
        self._kept.put(token)
        self._changed()

    def _is_ready(self, worker: str) -> bool:
        known = worker in self._core.state.workers
        status = liveness.status_of(self._core.state, self._core.presences, worker) if known else ""
        return status == READY


def _revoked(token: Token) -> Token:
    return replace(token, revoked=REMOVED, worker_secret="")
