"""Commands on a host over one connection: as the login user or the superuser, with deadlines.

Belongs here: wrapping a command, trying the password, the mark before which everything is the login
shell's, and what went wrong in words. Does not belong here: what is run and why (`connection`),
channels (`channels`), connecting (`dialling`).
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from typing import Any

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.remote import privilege, shells
from oakctl.remote.channels import (
    END_DEADLINE_S,
    LOST,
    MOST_OUTPUT,
    Channels,
    Ended,
    Late,
    Progress,
    Stdin,
    end_command,
    no_progress,
)
from oakctl.remote.dialling import Line
from oakctl.remote.facts import HostFacts
from oakctl.remote.privilege import Wrapped
from oakctl.remote.sessions import NoneFree
from oakctl.remote.step import COMMAND_DEADLINE_S, Cancelled, CommandFailed, Completed
from oakctl.remote.streaming import Lines, Listener

TRIAL_DEADLINE_S = 90.0  # PAM waits some seconds after a wrong password, LDAP at any time

log = logging.getLogger(__name__)


class Commands:
    """What runs on one host. For several threads at a time.

    `facts` gives what is known of the host; it is asked for only where a command is to run as the
    superuser. `close` may be called by another thread: what runs is cut off and raises Cancelled.
    """

    def __init__(self, line: Line, facts: Callable[[], HostFacts]) -> None:
        self._line = line
        self._facts = facts
        self.target = line.target
        self.name = line.target.name
        self._channels = Channels(line.connection, self.target.where)
        self.closed = threading.Event()
        self._trying = threading.Lock()
        self._believed = False
        self._wrong: OakError | None = None
        self._running: dict[str, bool] = {}  # marks of commands → as the superuser

    def execute(
        self,
        command: str,
        stdin: bytes,
        timeout_s: float,
        *,
        root: bool = False,
        label: str = "",
        encoding: str = "utf-8",
        check: bool = True,
        progress: Progress = no_progress,
        listener: Listener | None = None,
    ) -> Completed:
        """Run a command to its end; `label` stands for it in messages.

        Raises DeadlineExceeded, CommandFailed (with `check`), Unreachable when the connection or
        the login shell is of no use, Cancelled, and OakError where the rights are missing.
        """
        label = label or command
        if self.closed.is_set():
            raise self._lost(label)
        # Everything before the mark is the login shell's: a greeting in .bashrc is common.
        mark = secrets.token_hex(8)
        script = f"echo {mark}; echo {mark} >&2; {shells.one_line(command)}"
        wrapped = self._wrapped(script, root)
        sinks = (Lines("out", mark, listener), Lines("err", mark, listener)) if listener else None
        self._running[mark] = root
        try:
            result = self._ended(
                wrapped,
                stdin,
                timeout_s,
                label=label,
                encoding=encoding,
                progress=progress,
                sinks=sinks,
            )
        finally:
            self._running.pop(mark, None)
        for sink in sinks or ():
            sink.close()
        if result.late:
            self._end(mark, root=root)
            raise _too_late(self.name, label, timeout_s)
        if result.flooded:
            self._end(mark, root=root)
            raise OakError(
                f"{self.name}: `{_first_line(label)}` said more than {MOST_OUTPUT >> 20} MiB",
                hint=f"see what it says: oakctl host ssh {self.name}",
            )
        done = self._completed(result, mark, label, root)
        if check and done.exit_code != 0:
            raise CommandFailed(done)
        return done

    def _completed(self, result: Ended, mark: str, label: str, root: bool) -> Completed:
        """What the command itself said, behind its mark; raises when it was never reached."""
        _, reached, stdout = result.stdout.partition(f"{mark}\n")
        stderr = result.stderr.rpartition(f"{mark}\n")[2]
        done = Completed(label, result.exit_code, stdout if reached else result.stdout, stderr)
        cut_off = done.exit_code < 0  # a signal, or the channel went without an answer
        if cut_off and not self._channels.alive:
            raise self._lost(label)
        if done.exit_code != 0 and self.closed.is_set():  # we have ended it, be it by sudo's word
            raise self._lost(label)
        if not reached and root and self._facts().privilege != "root":
            raise self._named(privilege.refusal(self._facts(), result.stderr))
        if not reached:
            raise Unreachable(
                f"{self.name}: the login shell of {self.target.login} runs no commands",
                hint=f"ssh -p {self.target.port} {self.target.login}@{self.target.address} true",
                details=done.last_lines(),
            )
        return done

    def attend(self, command: str, *, root: bool) -> Any:
        """Start a command that lives as long as its channel (paramiko's), which is returned.

        Raises Unreachable when the connection is gone, DeadlineExceeded when it does not begin.
        """
        wrapped = self._wrapped(command, root)
        try:
            return self._channels.attend(wrapped.command, _stdin(wrapped), COMMAND_DEADLINE_S)
        except (NoneFree, Late) as error:
            raise _too_late(self.name, command, COMMAND_DEADLINE_S) from error
        except LOST as error:
            raise self._lost(command) from error

    def end_all(self) -> None:
        """End on the host what runs there for us; raises nothing."""
        for mark, root in tuple(self._running.items()):
            self._end(mark, root=root)

    def stop(self) -> None:
        """Give the connection up, and end on the host what runs on it, if that can be done soon."""
        self.closed.set()  # first: nothing more is begun, and what is ended here was cut off by us
        self.end_all()
        self.close()

    def require_rights(self) -> None:
        """Try the password where one is needed, once for this connection.

        Raises OakError when there is none, WrongPassword when sudo does not believe it. Called
        before the first step, so that a wrong one is found before anything is done.
        """
        if self._facts().privilege != "sudo-password":
            return
        with self._trying:
            if self._believed:
                return
            if self._wrong is not None:
                raise self._wrong
            self._try_password()
            self._believed = True

    def _try_password(self) -> None:
        if not self.target.sudo_password:
            raise self._named(privilege.missing(self._facts()))
        trial = privilege.trial(self.target.sudo_password)
        done = self._ended(trial, b"", TRIAL_DEADLINE_S, label="sudo true")
        if done.late:
            raise _too_late(self.name, "sudo true", TRIAL_DEADLINE_S)
        if done.exit_code != 0:
            said = done.stderr.replace(trial.asking, "")
            self._wrong = self._named(privilege.refusal(self._facts(), said))
            raise self._wrong

    def redial(self) -> None:
        """Give the connection up and open another; raises Unreachable, Cancelled."""
        self._line.close()
        self.pause(0)
        self._line = Line(self.target)
        self._channels = Channels(self._line.connection, self.target.where)
        self.pause(0)

    def pause(self, seconds: float) -> None:
        """Wait; raises Cancelled once `close` was called."""
        if self.closed.wait(seconds):
            self._line.close()
            raise Cancelled(f"{self.name}: stopped while it was waited for")

    def close(self) -> None:
        """Give the connection up, whatever runs on it; twice is fine."""
        self.closed.set()
        self._line.close()

    def _wrapped(self, script: str, root: bool) -> Wrapped:
        if not root:
            return Wrapped(shells.sh(script))
        try:
            self.require_rights()
            return privilege.wrap(self._facts(), script, self.target.sudo_password)
        except OakError as error:
            raise error if error.message.startswith(self.name) else self._named(error) from error

    def _ended(
        self,
        wrapped: Wrapped,
        stdin: bytes,
        timeout_s: float,
        *,
        label: str,
        encoding: str = "utf-8",
        progress: Progress = no_progress,
        sinks: tuple[Lines, Lines] | None = None,
    ) -> Ended:
        """What came of a command, with what may go wrong on the way in words."""
        try:
            return self._channels.run(
                wrapped.command,
                _stdin(wrapped, stdin),
                timeout_s,
                encoding=encoding,
                progress=progress,
                sinks=sinks,
            )
        except NoneFree as error:
            raise _too_late(self.name, label, timeout_s) from error
        except LOST as error:
            raise self._lost(label) from error

    def _end(self, mark: str, *, root: bool) -> None:
        """End what nobody waits for any more: an SSH server leaves it to itself.

        By who runs it: what is the superuser's no signal of the login user's reaches.
        """
        try:
            wrapped = self._wrapped(end_command(mark), root)
            self._ended(wrapped, b"", END_DEADLINE_S, label="kill")
        except OakError as error:
            log.info("%s: what was too slow may go on: %s", self.name, error.message)

    def _named(self, error: OakError) -> OakError:
        kind = type(error)
        return kind(f"{self.name}: {error.message}", hint=error.hint, details=error.details)

    def _lost(self, label: str) -> OakError:
        if self.closed.is_set():
            return Cancelled(f"{self.name}: stopped during `{_first_line(label)}`")
        return Unreachable(
            f"{self.name}: the connection was lost during `{_first_line(label)}`",
            hint="run it again: it carries on where it ended",
        )


def _stdin(wrapped: Wrapped, content: bytes = b"") -> Stdin:
    return Stdin(wrapped.go + content, wrapped.password, wrapped.ready, wrapped.asking)


def _too_late(host: str, label: str, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{host}: `{_first_line(label)}` did not end within {timeout_s:g} s",
        hint="run it again: it carries on where it ended",
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
