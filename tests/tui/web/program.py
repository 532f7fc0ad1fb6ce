"""`oakctl web` as a process, the way a user starts it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.waiting import until_now

END_S = 60


@dataclass(frozen=True)
class Running:
    """The program, and what it has printed."""

    process: subprocess.Popen[str]
    address: str

    @property
    def base(self) -> str:
        """Without the token."""
        return self.address.partition("/?")[0]

    @property
    def token(self) -> str:
        return self.address.partition("token=")[2]

    @property
    def cookie(self) -> dict[str, str]:
        """What a browser keeps."""
        return {"Cookie": f"oakctl-{self.base.rpartition(':')[2]}={self.token}"}

    def apps(self) -> list[psutil.Process]:
        """The processes of its sessions."""
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []


@contextmanager
def oakctl_web(*options: str) -> Iterator[Running]:
    """It serves; afterwards it and what it started are gone."""
    command = (sys.executable, "-m", "oakctl", "web", "--port", "0", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            running = Running(process, process.stdout.readline().strip())
            yield running
        finally:
            left = running.apps()
            process.send_signal(signal.SIGTERM)
            process.wait(END_S)
            until_now("its sessions to end", lambda: not any(map(_lives, left)))


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
