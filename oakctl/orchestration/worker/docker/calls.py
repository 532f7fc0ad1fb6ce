"""Blocking calls of the SDK, out of the event loop, each with a deadline.

Belongs here: threads. They are daemons, which an executor's are not: an agent that is asked to
end does not wait for a Docker that hangs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from oakctl.orchestration.worker.docker.errors import EngineAway

T = TypeVar("T")

AT_ONCE = 4  # short ones
CALL_S = 30.0


class Calls:
    """Runs functions in threads."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(
        self, function: Callable[..., T], *arguments: Any, what: str, deadline_s: float = CALL_S
    ) -> T:
        """The function's result; raises what it raises, and EngineAway at the deadline.

        A thread that is late ends by the SDK's own time limit; its result is dropped.
        """
        async with self._slots:
            return await self.run_long(function, *arguments, what=what, deadline_s=deadline_s)

    async def run_long(
        self, function: Callable[..., T], *arguments: Any, what: str, deadline_s: float
    ) -> T:
        """As `run`, for what may take minutes: looks at containers do not wait for it.

        Whoever makes such calls sees to it that there are few of them.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: Callable[[], None]) -> None:
            # The loop may be closed, when the agent has ended meanwhile.
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if done.done() else result())

        def work() -> None:
            try:
                value = function(*arguments)
            except Exception as error:  # noqa: BLE001 (it is raised by whoever waits)
                failure = error
                tell(lambda: done.set_exception(failure))
            else:
                tell(lambda: done.set_result(value))

        threading.Thread(target=work, name=f"docker: {what}", daemon=True).start()
        try:
            await asyncio.wait([done], timeout=deadline_s)
            if not done.done():
                raise EngineAway(f"Docker does not answer ({what}: {deadline_s:.0f} s)")
            return done.result()
        finally:
            done.cancel()  # does nothing to one that is done
