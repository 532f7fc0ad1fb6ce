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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from oakctl import paths
from oakctl.client.root import RootClient
from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model.views import RootStatus

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
OTHER_ROOT_S = 5.0
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
) -> RootStatus:
    """The status of a root that answers; starts one in the background when none does.

    It leaves by itself when it is idle, unless `keep`. Raises DeadlineExceeded when it does not
    answer within `timeout_s` seconds, OakError when it ends at once; both name its log.
    """
    status = await running_root()
    if status is not None:
        return status
    child = _spawn((*command, "--keep") if keep else command)
    return await _answering(child, timeout_s)


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
            status = await _other_root(min(deadline, time.monotonic() + OTHER_ROOT_S))
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
    while time.monotonic() < deadline:
        status = await running_root()
        if status is not None:
            return status
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
