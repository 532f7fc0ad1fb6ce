"""Commands on one SSH connection, several at a time, for threads.

Belongs here: channels, how many of them at once, standard input, deadlines, and the end of what
nobody waits for. Does not belong here: what a command is wrapped into and what its output means
(`connection`), how the connection came about (`dialling`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fabric
import fabric.runners
import invoke.exceptions
import paramiko

from oakctl.remote.sessions import NoneFree, Sessions
from oakctl.remote.shells import sh
from oakctl.remote.streaming import Lines
from oakctl.remote.target import LOGIN_DEADLINE_S

CHUNK = 32768  # bytes

# What a connection that is gone raises, in paramiko's and invoke's words.
LOST = (OSError, EOFError, paramiko.SSHException, invoke.exceptions.ThreadException)

# Ends the sessions of the commands that carry a mark, where the server gave them their own.
_END_SESSION = """
ids() { sed 's/.*) //' "$1/stat" 2>/dev/null | cut -d' ' -f3,4; }
own=$(ids /proc/$$)
for found in $(grep -lsF -- "$1" /proc/[0-9]*/cmdline); do
  set -- $(ids "${found%/cmdline}") $own
  [ $# = 4 ] && [ "$1" = "$2" ] && [ "$2" != "$4" ] || continue
  kill -TERM "-$1" && sleep 1 && kill -KILL "-$1"
done 2>/dev/null
"""

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def no_progress(done: int, total: int) -> None:
    """For who does not care."""
    return


def end_command(mark: str) -> str:
    """The command that ends what carries `mark`: an SSH server leaves it to itself."""
    return sh(_END_SESSION, mark)


@dataclass(frozen=True)
class Ended:
    """What came of a command; `late`: its deadline came first. A signal's exit code is below 0."""

    exit_code: int
    stdout: str
    stderr: str
    late: bool


class Channels:
    """The channels of one connection. For several threads at a time."""

    def __init__(self, connection: fabric.Connection, host: str) -> None:
        self._connection = connection
        self._sessions = Sessions(host)
        self._opening = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return bool(self._connection.transport.is_active())

    def attend(self, command: str, stdin: bytes, timeout_s: float) -> Any:
        """A channel (paramiko's) with a command that lives as long as it; raises one of LOST, and
        NoneFree."""
        channel = self._opened(timeout_s)
        self._sessions.ended()  # it is nobody's turn: it stays as long as it is wanted
        channel.exec_command(command)
        channel.sendall(stdin)
        return channel

    def _opened(self, timeout_s: float) -> Any:
        """A channel, as soon as the host grants one; raises NoneFree, or one of LOST."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._sessions.take(max(0.0, deadline - time.monotonic()))
            try:
                with self._opening:  # paramiko has one place for all refusals
                    channel = self._connection.transport.open_session(timeout=LOGIN_DEADLINE_S)
                    self._sessions.opened()
                    return channel
            except paramiko.ChannelException:
                self._sessions.was_refused()
                if time.monotonic() >= deadline:
                    raise NoneFree from None
            except BaseException:
                self._sessions.lost()
                raise

    def run(
        self,
        command: str,
        stdin: bytes,
        timeout_s: float,
        *,
        encoding: str = "utf-8",
        progress: Progress = no_progress,
        sinks: tuple[Lines, Lines] | None = None,
    ) -> Ended:
        """Run a command to its end or its deadline; raises NoneFree, or one of LOST.

        `sinks` get standard output and error as they come.
        """
        channel = self._opened(timeout_s)
        try:
            runner = _Runner(self._connection, channel, stdin, progress)
            result = runner.run(
                command,
                hide=True,
                warn=True,
                in_stream=False,  # never our own standard input
                timeout=timeout_s,
                encoding=encoding,
                out_stream=sinks and sinks[0],
                err_stream=sinks and sinks[1],
            )
            return Ended(result.exited, result.stdout, result.stderr, runner.is_late)
        except invoke.exceptions.CommandTimedOut as error:
            return Ended(-1, error.result.stdout, error.result.stderr, late=True)
        finally:
            self._sessions.ended()


class _Runner(fabric.runners.Remote):  # type: ignore[misc]  # fabric has no types
    """One command; its standard input is bytes and ends, and it never opens the connection anew."""

    def __init__(
        self, connection: fabric.Connection, channel: Any, stdin: bytes, progress: Progress
    ) -> None:
        super().__init__(context=connection)
        self.channel = channel
        self._stdin = stdin
        self._progress = progress
        self._feeder = threading.Thread(target=self._feed, name="ssh stdin", daemon=True)
        self.is_late = False

    def start(self, command: str, shell: str, env: object, timeout: float | None = None) -> None:
        """Called by `run`."""
        self.channel.exec_command(command)
        self._feeder.start()

    def kill(self) -> None:
        """Called when its time is over. What invoke itself says of that depends on which thread
        is faster."""
        self.is_late = True
        super().kill()

    def _feed(self) -> None:
        try:
            for at in range(0, len(self._stdin), CHUNK):
                self.channel.sendall(self._stdin[at : at + CHUNK])
                self._progress(min(at + CHUNK, len(self._stdin)), len(self._stdin))
            self.channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            return  # it ended without reading all; its exit code says how
