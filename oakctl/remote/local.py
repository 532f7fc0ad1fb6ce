"""This machine itself, as playbooks see a host: for the program that joins by a token.

Belongs here: what `step.Remote` promises, without SSH. It acts as whoever runs it: the superuser,
or a user for themselves alone, and never asks for more rights. Does not belong here: what is done
(`joining`). Runs on Python 3.10 and imports none of the operator's libraries.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from oakctl.errors import Conflict, DeadlineExceeded, OakError
from oakctl.model.config import HostLayout
from oakctl.remote import facts, interpreter, residence
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import Interpreter, NoInterpreter
from oakctl.remote.residence import Homeless, Residence
from oakctl.remote.step import (
    COMMAND_DEADLINE_S,
    CommandFailed,
    Completed,
    Progress,
    Tell,
    no_progress,
)


class LocalRemote:
    """See `step.Remote`. `towards` is (address, port) of the bus: we tell the address on the way
    there as ours. `again` is how this program is called as the superuser."""

    def __init__(self, towards: tuple[str, int], again: str) -> None:
        self._towards = towards
        self._again = again
        self.name = socket.gethostname()
        self.address = "127.0.0.1"

    @cached_property
    def facts(self) -> HostFacts:
        """What was found out before the first step."""
        found = replace(facts.probe(self), reached_address=_way_out(*self._towards))
        return found if os.geteuid() == 0 else replace(found, privilege="none")

    @cached_property
    def residence(self) -> Residence | Homeless:
        """Where we live here, or why we cannot."""
        found = residence.choose(self.facts)
        if isinstance(found, Homeless) and os.geteuid() != 0:
            return Homeless(found.reason, self._again)
        return found

    @cached_property
    def interpreter(self) -> Interpreter:
        """The machine's own Python; the one that runs us where it has none under a usual name."""
        chosen = interpreter.choose(self.facts)
        if isinstance(chosen, NoInterpreter):
            version = ".".join(map(str, sys.version_info[:3]))
            return Interpreter("the one that runs this", version, own=sys.executable)
        return chosen

    @property
    def python(self) -> str:
        """See `Remote`."""
        return self.interpreter.path(self.layout)

    @cached_property
    def layout(self) -> HostLayout:
        """Where everything of ours lies here; raises OakError where nothing can."""
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
        """See `Remote`."""
        try:
            done = subprocess.run(
                ["sh", "-c", command], input=stdin, capture_output=True, timeout=timeout_s,
                check=False, cwd="/",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(
                f"`{command.splitlines()[0][:80]}` did not end within {timeout_s:.0f} s"
            ) from error
        completed = Completed(
            command,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check and completed.exit_code != 0:
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
        if os.geteuid() != 0:
            raise OakError("this takes the superuser's rights", hint=self._again)
        return self.run(command, stdin=stdin, timeout_s=timeout_s, check=check)

    def as_login(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        return self.run(command, stdin=stdin, timeout_s=timeout_s, check=check)

    def put(
        self, path: str, content: bytes, *, mode: int = 0o600, progress: Progress = no_progress
    ) -> None:
        """See `Remote`."""
        part = Path(f"{path}.{secrets.token_hex(4)}.part")
        try:
            part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(content)
                out.flush()
                os.fchmod(out.fileno(), mode)
                os.fsync(out.fileno())
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise OakError(f"{path} can't be written: {error.strerror}") from error
        progress(len(content), len(content))

    def read(self, path: str) -> bytes | None:
        """See `Remote`."""
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OakError(f"{path} can't be read: {error.strerror}", hint=self._again) from error

    def tell(self, message: str, done: int = 0, total: int = 0) -> None:
        """See `Remote`; nobody is told here."""

    def listen(self, listener: Tell | None) -> None:
        """See `Remote`."""

    def reboot(self) -> None:
        """See `Remote`."""
        raise OakError("this machine is restarted by its owner alone")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the machine as a run over SSH does (`hostlock`); raises Conflict, OakError."""
        path = Path(self.layout.run("host.lock"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = path.open("a+")
        except OSError as error:
            raise OakError(f"{path} can't be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                holder = lock.read(200)
                raise Conflict(
                    f"{self.name}: another run works on this machine ({holder or 'not known'})",
                    hint="wait for it, then run this again",
                ) from error
            lock.truncate(0)
            lock.write(f"a join program, process {os.getpid()}")
            lock.flush()
            yield


def _way_out(address: str, port: int) -> str:
    """Our address on the way to another; empty where there is no way. Nothing is sent."""
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
