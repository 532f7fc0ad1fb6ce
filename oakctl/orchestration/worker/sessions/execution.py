"""A command beside the processes of an instance: as its user, in its groups, directory and
environment, with pipes or a terminal.

Belongs here: starting it, carrying its input and output, and its end. Does not belong here:
becoming the instance's user, which the new process does itself (`worker.launcher`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from dataclasses import dataclass
from typing import Any

from oakctl.model.sessions import STDERR, STDIN, STDOUT, Broken, Closed, Data, Ended, Resized
from oakctl.model.sessions import SessionRequest as Request
from oakctl.orchestration.sessions import Session, stop
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.launch import LAB_MARKS
from oakctl.orchestration.worker.sessions import descriptors

HANGS_UP_S = 2.0  # between SIGHUP and SIGKILL when the other side is gone
LEFT_OPEN_S = 1.0  # output of children that the command has left behind
LONGEST_REASON = 4096  # bytes
DIED_OF = 128


@dataclass(frozen=True)
class Ends:
    """Our ends of a command's input and output; STDERR is -1 with a terminal."""

    stdin: int
    stdout: int
    stderr: int
    theirs: tuple[int, int, int]

    def close_theirs(self) -> None:
        """What only the command itself has open tells us of its end."""
        for descriptor in set(self.theirs):
            os.close(descriptor)


async def run(session: Session, order: dict[str, Any], launcher: str, request: Request) -> Ended:
    """Run `order` (see `ProcessRuntime.order`, with another `argv`) until it ends.

    Raises Broken when the session ends first; the command is ended then. Raises OSError.
    """
    ends = _terminal(order, request) if request.tty else _pipes(request.stdin)
    open_ones = {ends.stdin, ends.stdout, ends.stderr} - {-1}
    try:
        for descriptor in open_ones:
            os.set_blocking(descriptor, False)
        child, errors = await _start(order, launcher, ends)
    except BaseException:
        _close(open_ones)
        raise
    carried = _Carried(session, ends, open_ones, is_terminal=request.tty)
    try:
        return await carried.until_end(child, errors)
    finally:
        _close({*open_ones, errors})
        await _end(child)


class _Carried:
    """The input and output of one command, on its session."""

    def __init__(
        self, session: Session, ends: Ends, open_ones: set[int], *, is_terminal: bool
    ) -> None:
        self._session = session
        self._ends = ends
        self._open = open_ones
        self._is_terminal = is_terminal

    async def until_end(self, child: asyncio.subprocess.Process, errors: int) -> Ended:
        loop = asyncio.get_running_loop()
        inward = loop.create_task(self._input())  # it ends by itself only with the session
        outward = loop.create_task(self._output())
        ended = loop.create_task(child.wait())
        try:
            await asyncio.wait({inward, ended}, return_when="FIRST_COMPLETED")
            if inward.done():
                await inward
            await self._rest(outward, inward)
            code, words = ended.result(), os.read(errors, LONGEST_REASON)
            return Ended(code if code >= 0 else DIED_OF - code, words.decode(errors="replace"))
        finally:
            await stop(inward, outward, ended)

    async def _rest(self, outward: asyncio.Task[None], inward: asyncio.Task[None]) -> None:
        """All output of the command itself; a child that it left may hold the pipes for ever."""
        while not outward.done():
            before = self._session.moved_at
            await asyncio.wait(
                {outward, inward}, timeout=LEFT_OPEN_S, return_when="FIRST_COMPLETED"
            )
            if inward.done():
                await inward
            if self._session.moved_at == before and self._session.has_room and not outward.done():
                return
        await outward

    async def _input(self) -> None:
        while True:
            event = await self._session.read()
            if isinstance(event, Data) and event.channel == STDIN:
                await self._feed(event.data)
            elif isinstance(event, Closed) and event.channel == STDIN:
                self._close_input()
            elif isinstance(event, Resized) and self._is_terminal:
                resize(self._ends.stdin, event.rows, event.columns)
            elif isinstance(event, Ended):
                raise Broken("the other side ended it")

    async def _feed(self, data: bytes) -> None:
        if self._ends.stdin in self._open:
            try:
                await descriptors.write(self._ends.stdin, data)
            except OSError:  # it reads no more: the rest is for nobody
                self._close_input()

    def _close_input(self) -> None:
        if not self._is_terminal and self._ends.stdin in self._open:
            self._open.discard(self._ends.stdin)
            os.close(self._ends.stdin)

    async def _output(self) -> None:
        work = [self._channel(self._ends.stdout, STDOUT)]
        if self._ends.stderr >= 0:
            work.append(self._channel(self._ends.stderr, STDERR))
        await asyncio.gather(*work)

    async def _channel(self, descriptor: int, channel: int) -> None:
        await descriptors.copy(descriptor, lambda data: self._session.write(channel, data))


async def _start(
    order: dict[str, Any], launcher: str, ends: Ends
) -> tuple[asyncio.subprocess.Process, int]:
    """The child, and where it says why it could not run."""
    orders_out, orders_in = os.pipe()
    errors_out, errors_in = os.pipe()
    os.set_blocking(errors_out, False)
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher, str(orders_out), str(errors_in)),
            stdin=ends.theirs[0],
            stdout=ends.theirs[1],
            stderr=ends.theirs[2],
            pass_fds=(orders_out, errors_in),
            env={name: os.environ[name] for name in ("PATH", *LAB_MARKS) if name in os.environ},
        )
    except BaseException:
        _close({orders_in, errors_out})
        raise
    finally:
        _close({orders_out, errors_in})
        ends.close_theirs()
    os.set_blocking(orders_in, False)
    try:
        with contextlib.suppress(BrokenPipeError):
            await descriptors.write(orders_in, json.dumps(order).encode())
    finally:
        os.close(orders_in)
    return child, errors_out


async def _end(child: asyncio.subprocess.Process) -> None:
    """End a command that still runs with all of its session: hung up, and killed if need be."""
    stat = procfs.stat_of(child.pid)
    if child.returncode is not None or stat is None:
        return
    for number, wait_s in ((signal.SIGHUP, HANGS_UP_S), (signal.SIGKILL, 10 * HANGS_UP_S)):
        members = set(procfs.session_members(child.pid, stat.start, procfs.all_stats()))
        _signal(members if child.returncode is not None else members | {child.pid}, number)
        if child.returncode is None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.wait(), wait_s)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _pipes(has_input: bool) -> Ends:
    if has_input:
        stdin_theirs, stdin = os.pipe()
    else:
        stdin_theirs, stdin = os.open(os.devnull, os.O_RDONLY), -1
    stdout, stdout_theirs = os.pipe()
    stderr, stderr_theirs = os.pipe()
    return Ends(stdin, stdout, stderr, (stdin_theirs, stdout_theirs, stderr_theirs))


def _terminal(order: dict[str, Any], request: Request) -> Ends:
    ours, theirs = pty.openpty()
    if order.get("user") is not None:
        os.fchown(theirs, order["user"], order["user"])  # it may open its terminal by name
    resize(ours, request.rows, request.columns)
    return Ends(ours, ours, -1, (theirs, theirs, theirs))


def resize(terminal: int, rows: int, columns: int) -> None:
    """The terminal's size; none where that is not known."""
    if rows > 0 and columns > 0:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _close(open_ones: set[int]) -> None:
    for descriptor in open_ones:
        with contextlib.suppress(OSError):
            os.close(descriptor)
