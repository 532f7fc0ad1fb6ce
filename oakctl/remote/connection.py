"""A host over fabric, as playbooks see it.

Belongs here: commands, files, deadlines, and errors in words. Does not belong here: who may be
trusted (`target`, `hostkeys`), or what is done (`playbooks/`).
"""

from __future__ import annotations

import shlex
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paramiko

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model.config import HostLayout
from oakctl.remote import facts
from oakctl.remote.facts import HostFacts
from oakctl.remote.step import COMMAND_DEADLINE_S, CommandFailed, Completed
from oakctl.remote.target import Target, fabric_connection

PREFIX = ".oakctl"
CHUNK = 65536  # bytes
# sshd's MaxSessions is 10; some are left for whoever is logged in.
SESSIONS = 6
READ_STEP_S = 0.2


@contextmanager
def open_fabric(target: Target) -> Iterator[FabricRemote]:
    """The host, connected and probed; raises Unreachable, or OakError from the probe."""
    connection = fabric_connection(target)
    try:
        _connect(target, connection)
        yield FabricRemote(target, connection)
    finally:
        _close(connection)


def _connect(target: Target, connection: Any) -> None:
    hop = target.hops[-1]
    try:
        connection.open()
    except OakError:
        raise
    except (OSError, paramiko.SSHException, EOFError) as error:
        raise target.unreachable(hop, error) from error


def _close(connection: Any) -> None:
    while connection is not None:
        connection.close()
        connection = connection.gateway


class FabricRemote:
    """See `remote.step.Remote`. Safe to use from more than one thread."""

    def __init__(self, target: Target, connection: Any) -> None:
        self._target = target
        self._transport: Any = connection.client.get_transport()
        self._sftp_client: Any = None
        self._lock = threading.Lock()
        self._sessions = threading.Semaphore(SESSIONS)
        self._facts = facts.probe(target.name, self)
        self._layout = HostLayout(f"{self._facts.home}/{PREFIX}")

    @property
    def name(self) -> str:
        """See `Remote`."""
        return self._target.name

    @property
    def facts(self) -> HostFacts:
        """See `Remote`."""
        return self._facts

    @property
    def layout(self) -> HostLayout:
        """See `Remote`."""
        return self._layout

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        code, output, errors = self.execute(f"sh -c {shlex.quote(command)}", stdin, timeout_s)
        completed = Completed(
            command, code, output.decode(errors="replace"), errors.decode(errors="replace")
        )
        if check and code != 0:
            raise CommandFailed(completed)
        return completed

    def root(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        if self._facts.uid != 0:
            raise OakError(
                f"this needs the superuser, and {self._facts.user} is not",
                hint=f"oakctl host add {self.name} root@ADDRESS -i KEY",
            )
        return self.run(command, stdin=stdin, timeout_s=timeout_s, check=check)

    def execute(self, command: str, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Exit code, output and errors of one command; raises Unreachable, DeadlineExceeded."""
        deadline = time.monotonic() + timeout_s
        with self._sessions:
            try:
                channel = self._transport.open_session(timeout=timeout_s)
                with channel:
                    return self._exchange(channel, command, stdin, deadline)
            except TimeoutError as error:
                first = command.splitlines()[0][:80]
                raise DeadlineExceeded(
                    f"{self.name}: `{first}` has not ended within {timeout_s:.0f} s",
                    hint=f"oakctl host ssh {self.name}",
                ) from error
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise self._lost(error) from error

    @staticmethod
    def _exchange(
        channel: Any, command: str, stdin: bytes, deadline: float
    ) -> tuple[int, bytes, bytes]:
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        channel.exec_command(command)
        if stdin:
            channel.sendall(stdin)
        channel.shutdown_write()
        output, errors = bytearray(), bytearray()
        channel.settimeout(READ_STEP_S)
        while True:
            while channel.recv_stderr_ready():
                errors += channel.recv_stderr(CHUNK)
            try:
                piece = channel.recv(CHUNK)
            except socket.timeout:
                if time.monotonic() > deadline:
                    raise
                continue
            if not piece:
                break
            output += piece
        while piece := channel.recv_stderr(CHUNK):
            errors += piece
        if not channel.status_event.wait(max(0.1, deadline - time.monotonic())):
            raise TimeoutError
        return int(channel.exit_status), bytes(output), bytes(errors)

    def put(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """See `Remote`."""
        temporary = f"{path}.new"
        folder = path.rpartition("/")[0]
        try:
            with self._lock:
                sftp = self._sftp()
                if not _is_folder(sftp, folder):
                    self.run(f"umask 077; mkdir -p {shlex.quote(folder)}")
                with sftp.open(temporary, "wb") as file:
                    # The mode before the content: nobody else may read it meanwhile.
                    sftp.chmod(temporary, mode)
                    file.set_pipelined(True)
                    file.write(content)
                self._verify(sftp.stat(temporary).st_size, content, path)
                sftp.posix_rename(temporary, path)
        except (EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error
        except OSError as error:
            raise self._unwritable(path, error) from error

    def read(self, path: str) -> bytes | None:
        """See `Remote`."""
        try:
            with self._lock, self._sftp().open(path, "rb") as file:
                file.prefetch()
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._lost(error) from error

    def _sftp(self) -> Any:
        if self._sftp_client is None:
            self._sftp_client = paramiko.SFTPClient.from_transport(self._transport)
            self._sftp_client.get_channel().settimeout(COMMAND_DEADLINE_S)
        return self._sftp_client

    def _verify(self, size: int, content: bytes, path: str) -> None:
        if size != len(content):
            raise OakError(
                f"{self.name}: {path}: {size} of {len(content)} bytes arrived",
                hint=f"oakctl host run {self.name} -- df -h",
            )

    def _unwritable(self, path: str, error: OSError) -> OakError:
        if not self._transport.is_active():
            return self._lost(error)
        # SFTP has one word, "failure", for a full disk and much else.
        free = self.run(f"df -Ph {shlex.quote(self._facts.home)} | tail -n 1", check=False)
        return OakError(
            f"{self.name}: {path} cannot be written: {error.strerror or error}",
            hint=f"oakctl host run {self.name} -- df -h",
            details=(free.stdout.strip(),),
        )

    def _lost(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{self.name}: the connection was lost: {error or type(error).__name__}",
            hint="run this again: it carries on where it was cut off",
        )


def _is_folder(sftp: Any, folder: str) -> bool:
    try:
        return stat.S_ISDIR(sftp.stat(folder).st_mode)
    except FileNotFoundError:
        return False
