"""One call of a command: an event loop, a root that answers, an end on SIGTERM.

Belongs here: how commands come to a `RootClient`. Does not belong here: what they do with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import oakctl
from oakctl.cli import source
from oakctl.cli.diagnostics import Terminated, say
from oakctl.errors import Conflict, DeadlineExceeded

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

T = TypeVar("T")

ROOT_LEAVE_S = 60.0
ROOT_POLL_S = 0.1


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


async def give_password(client: RootClient, hosts: Sequence[str], file: Path | None) -> None:
    """Let the root use the password in `file` (-: standard input) for sudo on `hosts`.

    No file: nothing. Raises as `source.password` does.
    """
    if file is None:
        return
    password = source.password(file)
    for host in hosts:
        await client.give_password(host, password)


async def renew_root() -> None:
    """End a root of another version of this program, so that the next call starts one of this.

    Raises Conflict while that one works on something, DeadlineExceeded when it does not leave.
    """
    from oakctl.client.process import running_root
    from oakctl.client.root import RootClient

    status = await running_root()
    if status is None or status.version == oakctl.__version__:
        return
    async with RootClient() as client:
        busy = [view.subject for view in await client.operations() if view.state == "running"]
        if busy:
            raise Conflict(
                f"the root process is of version {status.version} and works on {busy[0]}",
                hint="wait for it: oakctl event ls -f",
            )
        say(f"the root process is of version {status.version}: it is started anew")
        await client.shutdown()
    deadline = time.monotonic() + ROOT_LEAVE_S
    while await running_root() is not None:
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"the root process {status.pid} has not left within {ROOT_LEAVE_S:.0f} s",
                hint="oakctl status",
            )
        await asyncio.sleep(ROOT_POLL_S)


@contextlib.asynccontextmanager
async def root() -> AsyncIterator[RootClient]:
    """A client of the root process, which is started when none answers."""
    from oakctl.client.process import ensure_root
    from oakctl.client.root import RootClient

    await ensure_root(told=say)
    async with RootClient() as client:
        yield client
