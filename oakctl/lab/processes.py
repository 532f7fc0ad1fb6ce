"""Processes of a lab: found by the lab's id in their environment, ended, told apart from others.

Belongs here: reading /proc and signals. Does not belong here: who is kept running
(`supervisor`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

LAB_VARIABLE = "OAKCTL_LAB"
HOST_VARIABLE = "OAKCTL_HOST"
UNIT_VARIABLE = "OAKCTL_UNIT"


@dataclass(frozen=True)
class Process:
    """One process that was there when looked for; (pid, start) never names another."""

    pid: int
    start: int  # clock ticks since boot, field 22 of /proc/PID/stat
    command: tuple[str, ...]


def start_of(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in parentheses and may hold anything, so count from its end.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def of_lab(lab: str, host: str | None = None, unit: str | None = None) -> list[Process]:
    """Every process that carries this lab's id (and host's and unit's name), oldest first.

    This process is never among them: `lab down` may be typed inside the lab.
    """
    wanted = [f"{LAB_VARIABLE}={lab}".encode()]
    if host is not None:
        wanted.append(f"{HOST_VARIABLE}={host}".encode())
    if unit is not None:
        wanted.append(f"{UNIT_VARIABLE}={unit}".encode())
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        process = _look(int(entry.name), wanted)
        if process is not None:
            found.append(process)
    return sorted(found, key=lambda process: process.start)


def _look(pid: int, wanted: list[bytes]) -> Process | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:  # gone meanwhile, or another user's
        return None
    if not all(item in environment for item in wanted):
        return None
    start = start_of(pid)
    return None if start is None else Process(pid, start, tuple(map(os.fsdecode, command)))


def alive(pid: int, start: int) -> bool:
    """Whether exactly this process still runs."""
    return start_of(pid) == start


def send(pid: int, number: signal.Signals) -> None:
    """Signal `pid`; that it is gone already is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


class Ending:
    """Ends a set of processes that may still grow: SIGTERM once each, SIGKILL after `grace_s`.

    Call `step` again and again until it returns nothing. `find` looks for what is left.
    """

    def __init__(self, find: Callable[[], Iterable[Process]], grace_s: float) -> None:
        self._find = find
        self._kill_at = time.monotonic() + grace_s
        self._asked: set[tuple[int, int]] = set()

    def step(self) -> list[Process]:
        """Signal what is there; returns it."""
        left = list(self._find())
        kill = time.monotonic() >= self._kill_at
        for process in left:
            identity = (process.pid, process.start)
            if kill:
                send(process.pid, signal.SIGKILL)
            elif identity not in self._asked:
                self._asked.add(identity)
                send(process.pid, signal.SIGTERM)
        return left
