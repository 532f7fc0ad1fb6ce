"""Standard error: progress, questions, warnings, errors; and when a question may be asked.

Belongs here: all talk with the user. Does not belong here: data (`output`).
"""

from __future__ import annotations

import getpass
import os
import sys

from oakctl.cli import again
from oakctl.errors import OakError, UsageError
from oakctl.tui.viewmodels.words import clean


class Terminated(BaseException):
    """SIGTERM came; what had to be put in order has been."""


def say(message: str) -> None:
    """One line of progress."""
    _write(clean(message))


def warn(message: str) -> None:
    """One line that deserves attention."""
    _write(f"warning: {clean(message)}")


def report(error: OakError) -> None:
    """What failed, its details, and after a blank line what to type next."""
    _write(f"error: {clean(error.message)}")
    for detail in error.details:
        _write(f"  {clean(detail)}")
    if error.hint:
        _write("")
        _write(f"hint: {clean(error.hint)}")


def text(content: str) -> None:
    """Text of our own that brings its own lines, like a command's help."""
    _write(content.rstrip("\n"))


def is_terminal() -> bool:
    """Whether a full-screen program can be shown: it reads stdin and draws on stderr."""
    return _is_tty(sys.stdin) and _is_tty(sys.stdout) and _is_tty(sys.stderr)


def can_prompt() -> bool:
    """Whether somebody is there to answer a question."""
    return _is_tty(sys.stdin) and _is_tty(sys.stderr) and not os.environ.get("CI")


def confirm(question: str, *, yes: bool) -> None:
    """Go on only with consent; the default is No.

    Raises UsageError without `--yes` where nobody can be asked, and OakError when the answer
    is No.
    """
    if yes:
        return
    if not can_prompt():
        raise UsageError(f"there is no terminal to ask on: {question}", hint=again.typed("--yes"))
    if not ask(question):
        raise OakError("nothing was changed")


def ask(question: str) -> bool:
    """A yes-or-no question on the terminal; anything but yes is No."""
    sys.stderr.write(f"{clean(question)} [y/N] ")
    sys.stderr.flush()
    answer = _line()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def ask_password(host: str) -> str:
    """A password for sudo, typed unseen; raises OakError when nothing is typed."""
    password = getpass.getpass(f"Password for sudo on {clean(host)}: ", sys.stderr)
    if not password:
        raise OakError(f"{host}: no password given, nothing was changed")
    return password


def ask_passphrase(file: str) -> str:
    """The passphrase of a private key, typed unseen; raises OakError when nothing is typed."""
    passphrase = getpass.getpass(f"Passphrase of the key {clean(file)}: ", sys.stderr)
    if not passphrase:
        raise OakError(f"{file}: no passphrase given, nothing was done")
    return passphrase


def ask_secret(name: str) -> str:
    """The value of a secret, typed unseen; raises OakError when nothing is typed."""
    value = getpass.getpass(f"Value of secret {clean(name)}: ", sys.stderr)
    if not value:
        raise OakError(f"secret {name}: nothing was typed, nothing was changed")
    return value


def ask_name(question: str, name: str) -> bool:
    """Whether the name is typed: for what a quick `y` should not do."""
    sys.stderr.write(clean(question))
    sys.stderr.flush()
    return _line().strip() == name


def _line() -> str:
    # Not by sys.stdin: a thread that waits in it keeps the interpreter from ending.
    typed = b""
    while not typed.endswith(b"\n") and (piece := os.read(sys.stdin.fileno(), 1024)):
        typed += piece
    return typed.decode(errors="replace")


def _is_tty(stream: object) -> bool:
    # A stream is None when the program was started with that descriptor closed.
    return bool(getattr(stream, "isatty", lambda: False)())


def _write(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
