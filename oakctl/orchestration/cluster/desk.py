"""What both desks share: reading a message, answering it, work that others need not wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import wire

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.desk")


def read(message: Msg, kind: type[T]) -> T | None:
    """The message's body, or None when it is not what its subject carries."""
    try:
        return wire.decode(message.data, kind)
    except wire.Malformed as error:
        log.warning("%s: %s", message.subject, error)
        return None


async def answer(
    client: Client, message: Msg, body: Any, headers: dict[str, str] | None = None
) -> None:
    """Answer; whoever asked asks again when the bus is away."""
    data = body if isinstance(body, bytes) else wire.encode(body)
    try:
        await client.publish(message.reply, data, headers=headers)
    except NatsError as error:
        log.info("the answer to %s is lost: %r", message.subject, error)


class Tasks:
    """Work under way that nobody waits for; it ends with us."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside everything else; what goes wrong is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel what is under way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work failed", exc_info=task.exception())
