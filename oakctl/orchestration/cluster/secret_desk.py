"""What workers ask about secrets: those of an instance, the login for an image's registry.

An answer goes into the inbox of the worker that asks, over its own TLS connection, and only for
what is placed there: the bus vouches for the worker by the subject. Nothing of it is logged. Does
not belong here: who may be given what (`secrets`).
"""

from __future__ import annotations

import asyncio
import logging

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.errors import NotFound
from oakctl.model import subjects
from oakctl.model.messages import LoginAnswer, LoginRequest, SecretsAnswer, SecretsRequest
from oakctl.orchestration.cluster import clock, secrets
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.desk import answer, read
from oakctl.orchestration.cluster.secrets import Secrets

log = logging.getLogger("oakctl.cluster.secrets")

TIDY_S = 10.0


class SecretDesk:
    """Serves `ask.*.secrets` and `ask.*.login`."""

    def __init__(self, client: Client, core: Core, kept: Secrets) -> None:
        self._client = client
        self._core = core
        self._kept = kept

    async def open(self) -> None:
        """Begin to serve."""
        for what, handler in (
            (subjects.ASK_SECRETS, self._on_secrets),
            (subjects.ASK_LOGIN, self._on_login),
        ):
            await self._client.subscribe(subjects.ask("*", what), cb=handler)

    async def tidy(self) -> None:
        """Now and then, drop what is not needed any more; ends only by being cancelled."""
        while True:
            await asyncio.sleep(TIDY_S)
            self._kept.tidy(self._core.state, clock.read().mono)

    async def _on_secrets(self, message: Msg) -> None:
        asked = read(message, SecretsRequest)
        if asked is None or not _may_be_answered(message):
            return
        worker = subjects.worker_of(message.subject)
        try:
            spec = secrets.asked_by(self._core.state, worker, asked.instance)
            given = SecretsAnswer(self._kept.of(spec))
        except NotFound as error:
            log.warning("%s asks for secrets: %s", worker, error.message)
            given = SecretsAnswer(error=error.message)
        await answer(self._client, message, given)

    async def _on_login(self, message: Msg) -> None:
        asked = read(message, LoginRequest)
        if asked is None or not _may_be_answered(message):
            return
        worker = subjects.worker_of(message.subject)
        if secrets.pulls(self._core.state, worker, asked.image):
            given = LoginAnswer(self._kept.login(asked.image))
        else:
            given = LoginAnswer(error=f"no instance on {worker} is of this image")
        await answer(self._client, message, given)


def _may_be_answered(message: Msg) -> bool:
    if subjects.replies_to_worker(message.subject, message.reply):
        return True
    log.warning("%s wants its answer in %r: not given", message.subject, message.reply)
    return False
