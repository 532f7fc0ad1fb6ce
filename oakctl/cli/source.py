"""A file that a command is given, `-` being standard input: its content, or why there is none.

Belongs here: reading. Does not belong here: what the content means.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from oakctl.errors import NotFound, OakError, UsageError

STDIN = Path("-")


def content(file: Path, *, missing: str = "") -> bytes:
    """The bytes in it; `missing` is what to type when it is not there.

    Raises NotFound for one that is not there, OakError for one that cannot be read.
    """
    try:
        if file != STDIN:
            return file.expanduser().read_bytes()
        if sys.stdin is None:  # the program was started with it closed
            raise OakError("standard input is closed", hint="name a file")
        return sys.stdin.buffer.read()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}", hint=missing) from error
    except OSError as error:
        raise OakError(f"{named(file)} cannot be read: {error.strerror}") from error


def named(file: Path) -> str:
    """What to call it."""
    return "standard input" if file == STDIN else str(file)


@cache
def password(file: Path) -> str:
    """The password in a file. It is read once: standard input gives it only once.

    Raises NotFound when it cannot be read, UsageError when it holds none. Nothing of it is said.
    """
    try:
        text = content(file).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        # Not as its cause either: that names a byte of it.
        text = None
    except OakError as error:
        message = error.message.removeprefix(f"{named(file)} cannot be read: ")
        raise NotFound(
            f"the password file {file} cannot be read: {message}", hint=f"ls -l {file}"
        ) from error
    if text is None:
        raise UsageError(f"the password file {file} is not UTF-8 text")
    if not text:
        raise UsageError(f"the password file {file} is empty")
    return text
