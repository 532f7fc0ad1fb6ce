"""A host for playbooks, by fabric: commands and files over one connection, for threads.

Belongs here: connecting strictly, running, putting, reading, and what went wrong in words. Does
not belong here: which commands (the playbooks), tunnels (`tunnel`), who is let in (`target`).
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shlex
import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

import asyncssh
import fabric
import fabric.runners
import invoke.exceptions
import paramiko

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model.config import HostLayout
from oakctl.remote import facts, privilege, residence, uploads
from oakctl.remote.facts import HostFacts
from oakctl.remote.privilege import Wrapped
from oakctl.remote.residence import Homeless, Residence
from oakctl.remote.step import COMMAND_DEADLINE_S, Cancelled, CommandFailed, Completed
from oakctl.remote.target import CONNECT_DEADLINE_S, KEEPALIVE_S, LOGIN_DEADLINE_S, Target

SESSIONS = 8  # at a time; sshd grants 10 by default, and some grant fewer
SESSION_RETRY_S = 0.2
SLOWEST_LINK = 50_000  # bytes per second: what an upload's deadline counts on
CHUNK = 32768  # bytes
TRIAL_DEADLINE_S = 30.0  # PAM waits some seconds after a wrong password
MISSING = 44  # our own exit code for a file that is not there

# Ends the sessions of the commands that carry a mark, where the server gave them their own.
END_SESSION = """
ids() { sed 's/.*) //' "$1/stat" 2>/dev/null | cut -d' ' -f3,4; }
own=$(ids /proc/$$)
for found in $(grep -lsF -- "$1" /proc/[0-9]*/cmdline); do
  set -- $(ids "${found%/cmdline}") $own
  [ $# = 4 ] && [ "$1" = "$2" ] && [ "$2" != "$4" ] || continue
  kill -TERM "-$1" && sleep 1 && kill -KILL "-$1"
done 2>/dev/null
"""

Progress = Callable[[int, int], None]  # bytes done, bytes in all

log = logging.getLogger("oakctl.remote.connection")
# paramiko reports every refused connection here too; without a handler that goes to stderr,
# into whatever screen is there. What a user has to know is raised.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def open_fabric(target: Target) -> FabricRemote:
    """Connect through the jump hosts, each checked as strictly as the target, and ask for facts.

    Raises Unreachable, in words, when a host cannot be reached, is not believed or does not let
    us in. Blocks: for threads.
    """
    chain: list[fabric.Connection] = []
    try:
        for hop in (*target.hops(), target):
            connection = _connection(hop, chain[-1] if chain else None)
            chain.append(connection)
            _open(hop, connection)
        remote = FabricRemote(target, chain)
        remote.facts  # noqa: B018 - a host that cannot answer is found out here
    except BaseException:
        _close(chain)
        raise
    return remote


class _Policy:
    """What paramiko asks about every host key, as it is given none to compare with itself."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
        """Raises Unreachable, which ends the connection before anything was sent."""
        text = f"{key.get_name()} {key.get_base64()}"
        self._target.admit(asyncssh.import_public_key(text))


def _connection(target: Target, gateway: fabric.Connection | None) -> fabric.Connection:
    algorithms = target.host_key_algorithms()

    def transport(sock: Any, **options: Any) -> Any:
        made = paramiko.Transport(sock, **options)
        possible = made.get_security_options()
        possible.key_types = tuple(name for name in algorithms if name in possible.key_types)
        return made

    connection = fabric.Connection(
        host=target.address,
        user=target.login,
        port=target.port,
        # Neither ~/.ssh/config nor fabric's own files: both libraries go the same way.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=gateway,
        forward_agent=False,
        connect_timeout=int(CONNECT_DEADLINE_S),
        connect_kwargs=target.fabric_options() | {"transport_factory": transport},
    )
    # Without this line fabric takes every key, even a changed one.
    connection.client.set_missing_host_key_policy(_Policy(target))
    return connection


def _open(target: Target, connection: fabric.Connection) -> None:
    try:
        connection.open()
        connection.transport.set_keepalive(int(KEEPALIVE_S))
    except OakError:
        raise
    except paramiko.AuthenticationException as error:
        raise target.refused(str(error)) from error
    except paramiko.ChannelException as error:
        raise Unreachable(
            f"{target.name}: {target.where} is not reached from the jump host: {error.text}"
        ) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        raise target.no_answer(next(iter(error.errors.values()))) from error
    except paramiko.SSHException as error:
        if "No authentication methods" in str(error):
            raise target.refused("there is no key to offer") from error
        raise target.no_answer(error) from error
    except (OSError, EOFError) as error:
        raise target.no_answer(error) from error


def _close(chain: list[fabric.Connection]) -> None:
    for connection in reversed(chain):
        connection.close()
        connection.client.close()  # what failed before it was open


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


def _no_progress(done: int, total: int) -> None:
    return


class FabricRemote:
    """A host, as `remote.step.Remote` describes it. For several threads at a time.

    `close` may be called by another thread: what runs is then cut off and raises Cancelled.
    """

    def __init__(self, target: Target, chain: list[fabric.Connection]) -> None:
        self._target = target
        self._chain = chain
        self._connection = chain[-1]
        self._sessions = threading.BoundedSemaphore(SESSIONS)
        self._opening = threading.Lock()
        self._ended = threading.Condition()
        self._closed = threading.Event()
        self._trying = threading.Lock()
        self.sending: Progress = _no_progress  # told of every `put` that has no `progress`
        self._believed = False
        self._wrong: OakError | None = None

    def __enter__(self) -> FabricRemote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The host's name, for messages."""
        return self._target.name

    @cached_property
    def facts(self) -> HostFacts:
        """What was found out when the connection was made."""
        return facts.probe(self)

    @property
    def address(self) -> str:
        """Where the host is reached from here."""
        return self._target.address

    @cached_property
    def residence(self) -> Residence | Homeless:
        """Where we live there, or why we cannot."""
        return residence.choose(self.facts, password_given=bool(self._target.sudo_password))

    @cached_property
    def layout(self) -> HostLayout:
        """Where everything of ours lies there; raises OakError where nothing can."""
        if isinstance(self.residence, Homeless):
            raise OakError(f"{self.name}: {self.residence.reason}", hint=self.residence.remedy)
        return HostLayout(self.residence.prefix)

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`. What a login shell prints before the command is left out."""
        return self._execute(command, stdin, timeout_s, root=self._owner_is_root, check=check)

    def as_login(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        return self._execute(command, stdin, timeout_s, check=check)

    def root(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        return self._execute(command, stdin, timeout_s, root=True, check=check)

    def require_rights(self) -> None:
        """Try the password where one is needed, once for this connection.

        Raises OakError when there is none, WrongPassword when sudo does not believe it. Called
        before the first step, so that a wrong one is found before anything is done.
        """
        if self.facts.privilege != "sudo-password":
            return
        with self._trying:
            if self._believed:
                return
            if self._wrong is not None:
                raise self._wrong
            self._try_password()
            self._believed = True

    def _try_password(self) -> None:
        if not self._target.sudo_password:
            raise self._named(privilege.missing(self.facts))
        trial = privilege.trial(self._target.sudo_password)
        done = self._execute(
            trial.command, trial.preamble, TRIAL_DEADLINE_S, label="sudo true", check=False
        )
        if done.exit_code != 0:
            self._wrong = self._named(privilege.refusal(self.facts, done.stderr))
            raise self._wrong

    @property
    def _owner_is_root(self) -> bool:
        return (
            self._facts_known and isinstance(self.residence, Residence) and self.residence.as_root
        )

    @property
    def _facts_known(self) -> bool:
        return "facts" in self.__dict__

    def _named(self, error: OakError) -> OakError:
        kind = type(error)
        return kind(f"{self.name}: {error.message}", hint=error.hint, details=error.details)

    def put(
        self, path: str, content: bytes, *, mode: int = 0o600, progress: Progress | None = None
    ) -> None:
        """See `Remote`. One round trip, and no SFTP server needed, which small systems lack."""
        folder = PurePosixPath(path).parent
        command = (
            "set -e; umask 077; "
            f"path={shlex.quote(path)}; part=$path.{secrets.token_hex(4)}.part; "
            f"mkdir -p -- {shlex.quote(str(folder))}; "
            """trap 'rm -f -- "$part"' EXIT; cat >"$part"; """
            f'[ "$(sha256sum <"$part" | cut -d" " -f1)" = {hashlib.sha256(content).hexdigest()} ] '
            '|| { echo "$path arrived damaged" >&2; exit 65; }; '
            f'chmod {mode:o} "$part"; mv -f -- "$part" "$path"'
        )
        timeout_s = COMMAND_DEADLINE_S + len(content) / SLOWEST_LINK
        with uploads.turn(len(content), self._closed, f"{self.name}: put {path}"):
            self._execute(
                command,
                content,
                timeout_s,
                root=self._owner_is_root,
                label=f"put {path}",
                progress=progress or self.sending,
            )

    def read(self, path: str) -> bytes | None:
        """See `Remote`."""
        quoted = shlex.quote(path)
        done = self._execute(
            f"[ -e {quoted} ] || exit {MISSING}; exec cat -- {quoted}",
            b"",
            COMMAND_DEADLINE_S,
            root=self._owner_is_root,
            label=f"read {path}",
            encoding="latin-1",  # bytes as they are
            check=False,
        )
        if done.exit_code == MISSING:
            return None
        if done.exit_code != 0:
            raise CommandFailed(done)
        return done.stdout.encode("latin-1")

    def attend(self, command: str) -> Any:
        """Start a command that lives as long as its channel (paramiko's), which is returned.

        Raises Unreachable when the connection is gone.
        """
        wrapped = self._wrapped(command, self._owner_is_root)
        try:
            channel = self._session(COMMAND_DEADLINE_S)
            channel.exec_command(wrapped.command)
            channel.sendall(wrapped.preamble)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(command) from error
        return channel

    def close(self) -> None:
        """Give the connection up, whatever runs on it; twice is fine."""
        self._closed.set()
        _close(self._chain)

    def _execute(
        self,
        command: str,
        stdin: bytes,
        timeout_s: float,
        *,
        root: bool = False,
        label: str = "",
        encoding: str = "utf-8",
        check: bool = True,
        progress: Progress = _no_progress,
    ) -> Completed:
        label = label or command
        # Everything before the mark is the login shell's: a greeting in .bashrc is common.
        mark = secrets.token_hex(8)
        script = f"echo {mark}; echo {mark} >&2\n{command}"
        wrapped = self._wrapped(script, root)
        given = wrapped.preamble + stdin
        result, late = self._result(wrapped.command, given, progress, label, timeout_s, encoding)
        _, reached, stdout = result.stdout.partition(f"{mark}\n")
        if late:
            self._end(mark)
            raise _too_late(self.name, label, timeout_s)
        stderr = result.stderr.rpartition(f"{mark}\n")[2]
        done = Completed(label, result.exited, stdout if reached else result.stdout, stderr)
        cut_off = done.exit_code < 0  # a signal, or the channel went without an answer
        if cut_off and (self._closed.is_set() or not self._connection.transport.is_active()):
            raise self._lost(label)
        if not reached and root and self.facts.privilege != "root":
            raise self._named(privilege.refusal(self.facts, result.stderr))
        if not reached:
            raise Unreachable(
                f"{self.name}: the login shell of {self._target.login} runs no commands",
                hint=f"ssh -p {self._target.port} {self._target.login}@{self._target.address} true",
                details=done.last_lines(),
            )
        if check and done.exit_code != 0:
            raise CommandFailed(done)
        return done

    def _wrapped(self, script: str, root: bool) -> Wrapped:
        if not root:
            return Wrapped(f"sh -c {shlex.quote(script)}")
        try:
            self.require_rights()
            return privilege.wrap(self.facts, script, self._target.sudo_password)
        except OakError as error:
            raise error if error.message.startswith(self.name) else self._named(error) from error

    def _session(self, timeout_s: float) -> Any:
        """A channel; where the server grants fewer than we use, once another has ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self._opening:  # paramiko has one place for all refusals
                    return self._connection.transport.open_session(timeout=LOGIN_DEADLINE_S)
            except paramiko.ChannelException:
                if time.monotonic() >= deadline:
                    raise
                with self._ended:
                    self._ended.wait(SESSION_RETRY_S)

    def _result(
        self,
        command: str,
        stdin: bytes,
        progress: Progress,
        label: str,
        timeout_s: float,
        encoding: str,
    ) -> tuple[Any, bool]:
        """What came of a command, and whether it was too late."""
        if not self._sessions.acquire(timeout=timeout_s):
            raise _too_late(self.name, label, timeout_s)
        try:
            channel = self._session(timeout_s)
            runner = _Runner(self._connection, channel, stdin, progress)
            result = runner.run(
                command,
                hide=True,
                warn=True,
                in_stream=False,  # never our own standard input
                timeout=timeout_s,
                encoding=encoding,
            )
            return result, runner.is_late
        except invoke.exceptions.CommandTimedOut as error:
            return error.result, True
        except (OSError, EOFError, paramiko.SSHException, invoke.exceptions.ThreadException) as e:
            raise self._lost(label) from e
        finally:
            self._sessions.release()
            with self._ended:
                self._ended.notify_all()

    def _end(self, mark: str) -> None:
        """End what nobody waits for any more: an SSH server leaves it to itself."""
        command = f"sh -c {shlex.quote(END_SESSION)} sh {mark}"
        try:
            self._result(command, b"", _no_progress, "kill", COMMAND_DEADLINE_S, "utf-8")
        except OakError as error:
            log.info("%s: what was too slow may go on: %s", self.name, error.message)

    def _lost(self, label: str) -> OakError:
        if self._closed.is_set():
            return Cancelled(f"{self.name}: stopped during `{_first_line(label)}`")
        return Unreachable(
            f"{self.name}: the connection was lost during `{_first_line(label)}`",
            hint="run it again: it carries on where it ended",
        )


def _too_late(host: str, label: str, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{host}: `{_first_line(label)}` did not end within {timeout_s:g} s",
        hint="run it again: it carries on where it ended",
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
