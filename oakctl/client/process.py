"""The root process, from the side of those who need one: find it, start it, host it.

Belongs here: starting `oakctl serve` in the background or as a child, and waiting until it
answers. Does not belong here: what the process does (`api.serve`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from oakctl import paths
from oakctl.client.connection import NoRoot
from oakctl.client.root import RootClient
from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model.views import RootStatus

# One that dies is noticed at once, so a small board with a slow card may take its time.
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
TELL_EVERY_S = 10.0
OTHER_ROOT_S = 5.0  # for another one to listen
LOG_TAIL_LINES = 5
LEAST_FREE_KB = 1024  # the root's database and log do not begin with less

SERVE = (sys.executable, "-m", "oakctl", "serve")


async def running_root() -> RootStatus | None:
    """The root of this state directory, or None when none answers."""
    try:
        async with RootClient() as root:
            return await root.status()
    except Unreachable:
        return None


async def ensure_root(
    *,
    keep: bool = False,
    timeout_s: float = START_TIMEOUT_S,
    command: Sequence[str] = SERVE,
    told: Callable[[str], None] = lambda line: None,
) -> RootStatus:
    """The status of a root that answers; starts one in the background when none does.

    It leaves by itself when it is idle, unless `keep`. `told` hears now and then of one that takes
    long. Raises DeadlineExceeded when it lives and does not answer within `timeout_s` seconds,
    OakError when it ends before it answers; both name its log.
    """
    status = await running_root()
    if status is not None:
        return status
    child = _spawn((*command, "--keep") if keep else command)
    telling = asyncio.create_task(_tell(told))
    try:
        return await _answering(child, timeout_s)
    finally:
        telling.cancel()


async def _tell(told: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        told(f"the root process does not answer yet; its log: {log_file()}")


@asynccontextmanager
async def hosted_root(
    *, timeout_s: float = START_TIMEOUT_S, command: Sequence[str] = SERVE
) -> AsyncIterator[RootStatus]:
    """A root for the length of a block: a child of this process, stopped at the end.

    When one answers already, that one is used and left running.
    """
    status = await running_root()
    if status is not None:
        yield status
        return
    child = _spawn((*command, "--keep"))
    try:
        yield await _answering(child, timeout_s)
    finally:
        await asyncio.shield(asyncio.to_thread(_stop, child))


def log_file() -> Path:
    """Where a root that was started from here writes its log."""
    return paths.state_directory() / "root.log"


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    paths.private_directory(paths.state_directory())
    descriptor = os.open(log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # Its own session even as a child: Ctrl-C in the terminal is for us, who then stop it.
        return subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


async def _answering(child: subprocess.Popen[bytes], timeout_s: float) -> RootStatus:
    deadline = time.monotonic() + timeout_s
    while True:
        status = await running_root()
        if status is not None:
            return status
        if child.poll() is not None:
            # Another call may have started one in the same moment: then ours has left.
            status = await _other_root(deadline)
            if status is not None:
                return status
            raise OakError(
                f"the root process ended at once (exit code {child.returncode})",
                hint=f"see {log_file()}",
                details=_log_tail(),
            )
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"the root process {child.pid} has not answered within {timeout_s:.0f} s",
                hint=f"see {log_file()}",
                details=_log_tail(),
            )
        await asyncio.sleep(POLL_S)


async def _other_root(deadline: float) -> RootStatus | None:
    """One that somebody else starts: it listens at once, and answers when it is ready."""
    listened_at = time.monotonic()
    while time.monotonic() < deadline:
        try:
            async with RootClient() as root:
                return await root.status()
        except NoRoot:
            if time.monotonic() - listened_at >= OTHER_ROOT_S:
                return None
        except Unreachable:
            listened_at = time.monotonic()
        await asyncio.sleep(POLL_S)
    return None


def _log_tail() -> tuple[str, ...]:
    try:
        text = log_file().read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    # Where nothing more can be written, the log cannot say so.
    free_kb = shutil.disk_usage(paths.state_directory()).free // 1024
    full = free_kb < LEAST_FREE_KB
    told = (f"{free_kb} KiB are free for {paths.state_directory()}",) if full else ()
    return (*text.splitlines()[-LOG_TAIL_LINES:], *told)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
