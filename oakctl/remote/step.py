"""What a playbook is made of: steps, and the narrow view of a host that they see.

Belongs here: the protocol and the words. Does not belong here: how a command reaches a host
(`connection`), or in which order and under which guard steps run (`runner`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from oakctl.errors import ExitCode, OakError
from oakctl.model.config import HostLayout
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import Interpreter
from oakctl.remote.residence import Homeless, Residence

COMMAND_DEADLINE_S = 30.0
LAST_LINES = 20

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Tell = Callable[[str, int, int], None]  # a message, bytes done, bytes in all (0: not known)


def no_progress(done: int, total: int) -> None:
    """For whom progress is nothing to be told of."""


class Cancelled(OakError):
    """The operator stopped the run; a later run carries on where it ended."""

    exit_code = ExitCode.INTERRUPTED


@dataclass(frozen=True)
class Completed:
    """A command that ended on a host."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    def last_lines(self) -> tuple[str, ...]:
        """What a user needs to see of a command that failed."""
        return tuple((self.stdout + self.stderr).strip().splitlines()[-LAST_LINES:])


LONGEST_COMMAND = 100  # characters of it that an error shows


class CommandFailed(OakError):
    """A command ended with another code than 0; the runner adds host and step."""

    def __init__(self, completed: Completed) -> None:
        first = completed.command.strip().splitlines()[0]
        if len(first) > LONGEST_COMMAND:
            first = f"{first[: LONGEST_COMMAND - 1]}…"
        super().__init__(
            f"`{first}` ended with {completed.exit_code}", details=completed.last_lines()
        )
        self.completed = completed


class Remote(Protocol):
    """A host, as a step sees it. Every method raises Unreachable when the connection is gone."""

    @property
    def name(self) -> str:
        """The host's name, for messages."""

    @property
    def facts(self) -> HostFacts:
        """What was found out before the first step."""

    @property
    def residence(self) -> Residence | Homeless:
        """Where we live there and who keeps our processes running, or why we cannot."""

    @property
    def address(self) -> str:
        """Where the host is reached from here."""

    @property
    def interpreter(self) -> Interpreter:
        """The Python that everything of ours runs by there: its own, or one that is pushed.

        Raises OakError where there is none.
        """

    @property
    def python(self) -> str:
        """The path of that Python; it is there once the steps of `base` hold."""

    @property
    def layout(self) -> HostLayout:
        """Where everything of ours lies there."""

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """Run `command` under `sh` as the owner of the prefix; raises CommandFailed,
        DeadlineExceeded.

        That is the superuser where our prefix is the system's, else the login user; `put` and
        `read` are theirs too. What is secret goes through `stdin` or `put`: the command is seen
        by every user there.
        """

    def root(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """As `run`, always as the superuser; raises OakError where the user cannot become it."""

    def as_login(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """As `run`, always as the login user."""

    def put(
        self, path: str, content: bytes, *, mode: int = 0o600, progress: Progress = no_progress
    ) -> None:
        """Write a file atomically (missing directories 0700), and check that all of it arrived.

        `progress` is told the bytes that were sent and that there are, as they go.
        """

    def read(self, path: str) -> bytes | None:
        """The content of a file, None when there is none."""

    def tell(self, message: str, done: int = 0, total: int = 0) -> None:
        """Say how a step goes on that takes long; `done` of `total` bytes where that is known."""

    def listen(self, listener: Tell | None) -> None:
        """Have `tell` and uploads reach `listener`, until another or none is named."""

    def reboot(self) -> None:
        """Restart the host and return when it answers again, with `facts` asked anew.

        Raises DeadlineExceeded when it does not. For a step that says so: see `Step.reboots`.
        """


def nothing_to_add(_: Remote) -> str:
    """What most steps have to say beside what they do."""
    return ""


@dataclass(frozen=True)
class Step:
    """One thing to be true of a host. `check` says whether it is; `apply` makes it so.

    `check` returns a word of why not ("missing", "differs") or an empty string when nothing is
    to be done, so that a run that was cut off carries on where it ended. It changes nothing: it is
    also asked for a plan, without the host's lock and side by side with other checks, on hosts
    where the steps before it have not been done. `apply` may be cut off anywhere, by the link or
    by the power, and be called again: what it changes is whole before and after. It is followed by
    `check`, which has to hold then. `apply` may return a word on what it did, and `note` one on a
    host where nothing has to be done. All three raise OakError, in words, where they cannot go on.

    `name` is what a hook calls the step within its playbook; empty: made of the title. With
    `reboots` the step restarts the host, and is left out where that was not agreed to. `playbook`
    is set by who loads it.
    """

    title: str
    check: Callable[[Remote], str]
    apply: Callable[[Remote], str | None]
    name: str = ""
    note: Callable[[Remote], str] = nothing_to_add
    reboots: bool = False
    playbook: str = ""
