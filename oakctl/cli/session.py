"""One call of a command: an event loop, a root that answers, an end on SIGTERM.

Belongs here: how commands come to a `RootClient`. Does not belong here: what they do with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from oakctl.cli.diagnostics import Terminated
from oakctl.errors import NotFound, UsageError

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


async def give_password(client: RootClient, hosts: Sequence[str], file: Path | None) -> None:
    """Let the root use the password in `file` (-: standard input) for sudo on `hosts`.

    No file: nothing. Raises NotFound when it cannot be read, UsageError when it is empty.
    """
    if file is None:
        return
    try:
        given = Path("/dev/stdin") if str(file) == "-" else file.expanduser()
        password = given.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise NotFound(
            f"the password file {file} cannot be read: {error.strerror}", hint=f"ls -l {file}"
        ) from error
    if not password:
        raise UsageError(f"the password file {file} is empty")
    for host in hosts:
        await client.give_password(host, password)


@contextlib.asynccontextmanager
async def root() -> AsyncIterator[RootClient]:
    """A client of the root process, which is started when none answers."""
    from oakctl.client.process import ensure_root
    from oakctl.client.root import RootClient

    await ensure_root(timeout_s=ROOT_START_S)
    async with RootClient() as client:
        yield client
