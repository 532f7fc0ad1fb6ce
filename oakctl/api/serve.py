"""The root process: one per state directory, `/v1` on its Unix socket, gone when idle.

Belongs here: lock, socket, signals and the reasons to leave. Does not belong here: how one is
started by others (`client.process`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import uvicorn

from oakctl import paths
from oakctl.api.activity import Activity
from oakctl.api.app import create
from oakctl.errors import Conflict, ExitCode
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.root import Root

log = logging.getLogger("oakctl.serve")

IDLE_S = 30.0
IDLE_CHECK_S = 0.5
# Streams end when the root says that it closes; what has not ended then is cut off.
GRACE_S = 3
BACKLOG = 128
LEAVES_S = 60.0  # for one that no longer listens to be gone: its clusters' links are closed
LOOK_S = 0.05


def run(keep: bool, idle_s: float = IDLE_S, installer: Installer | None = None) -> int:
    """Serve until told to stop, or, without `keep`, until idle for `idle_s` seconds.

    Returns the exit code; raises Conflict when another process serves this state directory.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it tells of each WebSocket
    with only_one(), listening() as listener:
        return asyncio.run(serve(listener, keep, idle_s, installer))


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold this state directory's lock; raises Conflict naming who has it.

    One that is about to leave is waited for: whoever found nobody to ask has started us.
    """
    file = paths.private_directory(paths.state_directory()) / "root.lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(descriptor) and not _lock_left(descriptor):
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "?"
            raise Conflict(
                f"process {holder} is the root of {paths.state_directory()} already",
                hint="oakctl status",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_left(descriptor: int) -> bool:
    """The lock of one that listens no more; False when somebody listens, or it does not leave."""
    deadline = time.monotonic() + LEAVES_S
    while not _somebody_listens() and time.monotonic() < deadline:
        if _lock(descriptor):
            return True
        time.sleep(LOOK_S)
    return False


def _somebody_listens() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue is an answer too
        try:
            probe.connect(str(paths.root_socket()))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """The root's socket, 0600; one that an earlier process left is replaced."""
    path = paths.root_socket()
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Signals are ours: the exit code says which one it was."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    listener: socket.socket, keep: bool, idle_s: float, installer: Installer | None
) -> int:
    """Serve on a listening socket; see `run`."""
    activity = Activity()
    leave = asyncio.Event()
    code = ExitCode.DONE

    def stop(reason: ExitCode = ExitCode.DONE) -> None:
        nonlocal code
        code = reason
        leave.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, ExitCode.TERMINATED)
    loop.add_signal_handler(signal.SIGINT, stop, ExitCode.INTERRUPTED)
    async with Root(installer) as root:
        app = create(root, activity, stop)
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            # A client that is stopped for a while is still there: its end closes the socket.
            ws_ping_interval=None,
            ws_per_message_deflate=False,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        log.info("process %d serves %s", os.getpid(), paths.root_socket())
        idle = asyncio.create_task(_until_idle(root, activity, idle_s, keep))
        leaving = asyncio.create_task(leave.wait())
        await asyncio.wait({serving, idle, leaving}, return_when=asyncio.FIRST_COMPLETED)
        root.close_streams()
        server.should_exit = True
        for task in (idle, leaving):
            task.cancel()
        await serving
        log.info("process %d leaves", os.getpid())
    return code


async def _until_idle(root: Root, activity: Activity, idle_s: float, keep: bool) -> None:
    """Return when nobody has asked anything for `idle_s` seconds and nothing is unfinished."""
    while True:
        await asyncio.sleep(IDLE_CHECK_S)
        if not keep and activity.quiet_s >= idle_s and await root.is_idle():
            return
