"""This terminal, as the end of a session: raw bytes in and out, its size, its mode.

Belongs here: what a session needs of the terminal, pipe or file that the command was started
with. Does not belong here: sessions (`oakctl.client.sessions`). A thread per wait, because a file
cannot be waited for otherwise; threads are daemons, so that none keeps the program from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from typing import TypeVar

from oakctl.errors import UsageError
from oakctl.model.sessions import PIECE

T = TypeVar("T")
INPUT, OUTPUT, ERRORS = 0, 1, 2


def require(command: str) -> None:
    """Raise UsageError where there is no terminal."""
    if not os.isatty(INPUT):
        raise UsageError(
            "-t needs a terminal on standard input", hint=f"{command} without -t, and -i for a pipe"
        )


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Every key goes through as it is; the terminal is as before afterwards, whatever happens."""
    before = termios.tcgetattr(INPUT)
    tty.setraw(INPUT, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(INPUT, termios.TCSADRAIN, before)


def size() -> tuple[int, int]:
    """(rows, columns); zeros where that is not known."""
    for descriptor in (INPUT, OUTPUT, ERRORS):
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(descriptor)
            return rows, columns
    return 0, 0


async def read() -> bytes:
    """What is there on standard input, at least a byte; empty at its end."""
    return await _in_thread(lambda: os.read(INPUT, PIECE))


async def write(descriptor: int, data: bytes) -> None:
    """All of it, to standard output or standard error; raises BrokenPipeError."""

    def work() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    await _in_thread(work)


def flush() -> None:
    """What was printed before comes before what is written now."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


async def _in_thread(function: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: None if done.done() else result())

    def work() -> None:
        try:
            value = function()
        except OSError as error:
            failure = error
            tell(lambda: done.set_exception(failure))
        else:
            tell(lambda: done.set_result(value))

    threading.Thread(target=work, name="terminal", daemon=True).start()
    return await done
