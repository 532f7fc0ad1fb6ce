"""Questions on the terminal from within an event loop.

Belongs here: waiting for what is typed so that everything else goes on, and Ctrl-C ends it at
once. Does not belong here: the questions (`diagnostics`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from oakctl.remote import threads

T = TypeVar("T")


async def asked(question: Callable[..., T], *arguments: object, **more: object) -> T:
    """What `question`, which waits for what is typed, gives; the loop goes on meanwhile.

    In a thread that nobody joins: one of the loop's own would have to end first, and so Ctrl-C
    would do nothing until a line is typed.
    """
    with _terminal_as_it_was():
        work = partial(question, *arguments, **more)
        return await asyncio.wrap_future(threads.begin(work, "question"))


@contextlib.contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    """Whoever breaks off while a password is typed unseen sees what he types next."""
    try:
        terminal = os.dup(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        yield
        return
    try:
        before = termios.tcgetattr(terminal) if os.isatty(terminal) else None
        try:
            yield
        except asyncio.CancelledError:
            if before is not None:
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(terminal, termios.TCSADRAIN, before)
                sys.stderr.write("\n")
            raise
    finally:
        os.close(terminal)
