"""One call of a command: an event loop, a root that answers, an end on SIGTERM.

Belongs here: how commands come to a `RootClient`. Does not belong here: what they do with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from oakctl.cli.diagnostics import Terminated

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

T = TypeVar("T")

ROOT_START_S = 20.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end; on SIGTERM it is cancelled, cleans up, and Terminated is raised."""
    return asyncio.run(_until_terminated(main))


async def _until_terminated(main: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextlib.asynccontextmanager
async def root() -> AsyncIterator[RootClient]:
    """A client of the root process, which is started when none answers."""
    from oakctl.client.process import ensure_root
    from oakctl.client.root import RootClient

    await ensure_root(timeout_s=ROOT_START_S)
    async with RootClient() as client:
        yield client
