"""The terminal given back as it was found, whatever ends the program.

Belongs here: signals and what a terminal sends that Textual does not expect. Does not belong
here: anything that is drawn.
"""

from __future__ import annotations

import asyncio
import codecs
import functools
import signal
from typing import Any

from textual.app import App
from textual.drivers import linux_driver


def survive_old_mouse_reports() -> None:
    """Let bytes that are no UTF-8 pass as replacement characters.

    After a reattached tmux or a reconnected SSH a terminal may report the mouse in the X10 form,
    whose coordinates beyond column 95 are bytes above 0x7F: the strict decoder ends the program
    (Textualize/textual#6668).
    """

    def lenient(encoding: str) -> Any:
        return functools.partial(codecs.getincrementaldecoder(encoding), errors="replace")

    linux_driver.getincrementaldecoder = lenient  # type: ignore[attr-defined]


def leave_on_signals(app: App[Any]) -> None:
    """End `app` in order on SIGTERM and SIGHUP, with the shell's code for them.

    Without it the terminal stays in the alternate screen with mouse reports on. To be called
    when the app's event loop runs.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, functools.partial(app.exit, return_code=128 + number))
