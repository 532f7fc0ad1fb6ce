"""The exception tree and the exit codes that belong to it.

Belongs here: errors that may reach a user. Each says what failed and where; its hint is the
next command to type. Does not belong here: errors that are handled where they arise.

    OakError (1)
    ├── UsageError (2)        the call itself is wrong
    ├── NotFound (3)          the thing named does not exist
    ├── Unreachable (4)       a host, a cluster or the root does not answer, or refuses us
    ├── DeadlineExceeded (5)  a wait ended without what it waited for
    └── Conflict (6)          a lock is held, a name is taken, a change is not possible now
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    TIMED_OUT = 5
    CONFLICT = 6
    INTERRUPTED = 130
    TERMINATED = 143


class OakError(Exception):
    """Something a user must know: what failed and where, and what to type next.

    `hint` is a command or a sentence; `details` are further lines (every fault of a file, the
    last lines of a failed step).
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(OakError):
    """The call itself is wrong; nothing was done."""

    exit_code = ExitCode.USAGE


class NotFound(OakError):
    """The thing named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class Unreachable(OakError):
    """A host, a cluster or the root does not answer, or refuses us."""

    exit_code = ExitCode.UNREACHABLE


class DeadlineExceeded(OakError):
    """A wait ended without what it waited for; the message says what that was."""

    exit_code = ExitCode.TIMED_OUT


class Conflict(OakError):
    """A lock is held, a name is taken, or the change is not possible now."""

    exit_code = ExitCode.CONFLICT


def error_for(exit_code: int, message: str, hint: str, details: tuple[str, ...]) -> OakError:
    """The error that carries `exit_code`; what crosses a process boundary is rebuilt by this."""
    for kind in (UsageError, NotFound, Unreachable, DeadlineExceeded, Conflict):
        if kind.exit_code == exit_code:
            return kind(message, hint=hint, details=details)
    return OakError(message, hint=hint, details=details)
