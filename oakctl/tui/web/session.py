"""The app as one of a browser's sessions: what it has to do that a terminal's does not.

Belongs here: knowing that there is no terminal, and ending with the server. Does not belong here:
the server.
"""

from __future__ import annotations

import ctypes
import os
import signal

DRIVER = "TEXTUAL_DRIVER"  # what textual-serve tells the app by
PR_SET_PDEATHSIG = 1


def in_browser() -> bool:
    """Whether this process was started for a browser's tab."""
    return os.environ.get(DRIVER, "").endswith(":WebDriver")


def end_with_server() -> None:
    """Be told to end when the server does, which may have been killed: its pipe would not tell."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
