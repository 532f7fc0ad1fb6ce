"""Commands on one SSH connection, several at a time, for threads.

Belongs here: channels, how many of them at once, standard input, deadlines, and the end of what
nobody waits for. Does not belong here: what a command is wrapped into and what its output means
(`connection`), how the connection came about (`dialling`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
MOST_OUTPUT = 64 * 1024 * 1024  # bytes of one command: a host may say anything for ever
KEPT_PIECES = 256  # at either end of what a listener has had; invoke reads 1000 bytes a piece
ADMITTED_DEADLINE_S = 60.0  # a directory server may be asked for a password
LOOK_EVERY_S = 0.02
END_DEADLINE_S = 10.0

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
class Stdin:
    """What a command reads: `first` at once, `content` when it has written `ready` (if that is
    said), then the end. Standard error has `asking` once for each `first` that is wanted."""

    content: bytes = field(default=b"", repr=False)
    first: bytes = field(default=b"", repr=False)
    ready: str = ""
    asking: str = ""


@dataclass(frozen=True)
class Ended:
    """What came of a command; `late`: its deadline came first; `flooded`: it was cut off, as it
    said more than MOST_OUTPUT. A signal's exit code is below 0."""

    exit_code: int
    stdout: str
    stderr: str
    late: bool
    flooded: bool = False


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

    def attend(self, command: str, stdin: Stdin, timeout_s: float) -> Any:
        """A channel (paramiko's) with a command that lives as long as it, begun within
        `timeout_s` seconds, which is also the channel's own limit for each read and write.

        Raises Late, NoneFree, or one of LOST.
        """
        deadline = time.monotonic() + timeout_s
        channel = self._opened(timeout_s)
        self._sessions.ended()  # it is nobody's turn: it stays as long as it is wanted
        try:
            _begin(channel, command, _left(deadline))
            channel.settimeout(_left(deadline))
            channel.sendall(stdin.first)
            seen = b""
            while stdin.ready.encode() not in seen:
                channel.settimeout(_left(deadline))
                piece = channel.recv(CHUNK)
                if not piece:
                    break  # it has ended: whoever listens to it sees that
                seen = (seen + piece)[-CHUNK:]
            channel.sendall(stdin.content)
            channel.settimeout(timeout_s)
        except BaseException as error:
            channel.close()
            if isinstance(error, socket.timeout):
                raise Late from error
            raise
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
        stdin: Stdin,
        timeout_s: float,
        *,
        encoding: str = "utf-8",
        progress: Progress = no_progress,
        sinks: tuple[Lines, Lines] | None = None,
    ) -> Ended:
        """Run a command to its end or its deadline; raises NoneFree, or one of LOST.

        The deadline counts from when the last byte of `stdin` was taken: a slow link is no fault.
        `sinks` get standard output and error as they come; then the middle of a long output is
        not in the answer.
        """
        channel = self._opened(timeout_s)
        try:
            runner = _Runner(
                self._connection, channel, stdin, progress, timeout_s, self._end, sinks is not None
            )
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
            return Ended(
                result.exited, result.stdout, result.stderr, runner.is_late, runner.is_flooded
            )
        except Late:
            return Ended(-1, "", "", late=True)
        except invoke.exceptions.CommandTimedOut as error:
            return Ended(-1, error.result.stdout, error.result.stderr, late=True)
        finally:
            self._sessions.ended()

    def _end(self, mark: str) -> None:
        """End what carries the mark, if that can be done soon."""
        with contextlib.suppress(NoneFree, *LOST):
            self.run(end_command(mark), Stdin(), END_DEADLINE_S)


class Late(Exception):
    """The server has not said in time whether a command has begun."""


def _left(deadline: float) -> float:
    """Seconds until then; raises Late when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise Late
    return left


def _begin(channel: Any, command: str, timeout_s: float) -> None:
    """Have the server begin `command`; raises Late when it does not say whether it has.

    paramiko waits for that word without an end, but for the end of its channel.
    """
    given_up = threading.Event()

    def give_up() -> None:
        given_up.set()
        with contextlib.suppress(*LOST):  # the connection goes just now
            channel.close()

    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        channel.exec_command(command)
    except LOST as error:
        if given_up.is_set():
            raise Late from error
        raise
    finally:
        timer.cancel()


class _Runner(fabric.runners.Remote):  # type: ignore[misc]  # fabric has no types
    """One command; its standard input is bytes and ends, and it never opens the connection anew."""

    def __init__(
        self,
        connection: fabric.Connection,
        channel: Any,
        stdin: Stdin,
        progress: Progress,
        patience_s: float,
        end: Callable[[str], None],
        is_heard: bool,
    ) -> None:
        super().__init__(context=connection)
        self._is_heard = is_heard
        self._patience_s = patience_s
        self._moved = time.monotonic()
        self.channel = channel
        self._stdin = stdin
        self._progress = progress
        self._end = end
        self._out = self._err = b""
        self._feeder = threading.Thread(target=self._feed, name="ssh stdin", daemon=True)
        self.is_late = False
        self._received = 0

    @property
    def is_flooded(self) -> bool:
        """Whether it was cut off because it said too much."""
        return self._received > MOST_OUTPUT

    def read_proc_stdout(self, num_bytes: int) -> bytes:
        """Called by `run`, in a thread."""
        piece = self._bounded(super().read_proc_stdout(num_bytes))
        if self._stdin.ready and not self._is_ready:
            self._out += piece
        return piece

    def read_proc_stderr(self, num_bytes: int) -> bytes:
        """Called by `run`, in another thread."""
        piece = self._bounded(super().read_proc_stderr(num_bytes))
        if self._stdin.asking and not self._is_ready:
            self._err += piece
        return piece

    def respond(self, buffer_: list[str]) -> None:
        """Called with all that came, at each piece. Nobody types answers here: invoke would join
        all of it each time, and take the square of its length."""
        if self._is_heard:
            del buffer_[KEPT_PIECES:-KEPT_PIECES]

    def _bounded(self, piece: bytes) -> bytes:
        self._received += len(piece)
        if self.is_flooded:
            self.channel.close()
            return b""
        return piece

    def start(self, command: str, shell: str, env: object, timeout: float | None = None) -> None:
        """Called by `run`."""
        _begin(self.channel, command, self._patience_s)
        self._feeder.start()

    def kill(self) -> None:
        """Called when its time is over. What invoke itself says of that depends on which thread
        is faster."""
        left = self._moved + self._patience_s - time.monotonic()
        if left > 0:  # its input has gone on since
            self.start_timer(left)
            return
        self.is_late = True
        super().kill()

    @property
    def _is_ready(self) -> bool:
        return self._stdin.ready.encode() in self._out

    @property
    def _is_asked_again(self) -> bool:
        return bool(self._stdin.asking) and self._err.count(self._stdin.asking.encode()) > 1

    def _feed(self) -> None:
        content = self._stdin.content
        try:
            self.channel.sendall(self._stdin.first)
            if self._stdin.ready and not self._admitted():
                return
            for at in range(0, len(content), CHUNK):
                self.channel.sendall(content[at : at + CHUNK])
                self._moved = time.monotonic()
                self._progress(min(at + CHUNK, len(content)), len(content))
            self.channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            return  # it ended without reading all; its exit code says how

    def _admitted(self) -> bool:
        """Wait until the command has begun; what asks once more is ended, at best by a signal.

        sudo-rs takes the end of its input for further passwords, and an account is locked after
        some that are wrong.
        """
        deadline = time.monotonic() + ADMITTED_DEADLINE_S
        while not self._is_ready:
            if self.channel.exit_status_ready() or self.channel.closed:
                return False
            if self._is_asked_again or time.monotonic() >= deadline:
                self._end(self._stdin.asking)
                self.channel.shutdown_write()
                return False
            time.sleep(LOOK_EVERY_S)
        return True
