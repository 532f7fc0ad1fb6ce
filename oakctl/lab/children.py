"""Child processes of the keeper: starting them, and reaping them and every orphan of the lab.

Belongs here: fork, exec, wait. asyncio's own subprocesses are not used because the keeper, as
the subreaper of its hosts, has to wait for processes that it never started. Does not belong
here: why something is started (`supervisor`, `ssh_host`).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from oakctl.lab import processes

PR_SET_CHILD_SUBREAPER = 36


class Child:
    """A process we started, leader of a session and process group of its own."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.start = processes.start_of(popen.pid) or 0
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and what it started, except what made a session of its own."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


class Children:
    """Starts processes and reaps all that end below us. One per process, in its event loop."""

    def __init__(self) -> None:
        self._known: dict[int, Child] = {}

    def __enter__(self) -> Children:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        terminal: bool = False,
    ) -> Child:
        """Start `argv`; with `terminal` its standard input becomes its controlling terminal.

        Raises OSError when it can't be started.
        """
        popen = subprocess.Popen(
            argv,
            env=dict(environment),
            cwd=directory,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_take_terminal if terminal else None,
        )
        child = Child(popen)
        self._known[child.pid] = child
        return child

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._known.pop(pid, None)
            if child is not None:
                code = os.waitstatus_to_exitcode(status)
                child.popen.returncode = code
                if not child.exit_code.done():
                    child.exit_code.set_result(code)


def _take_terminal() -> Any:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
