"""A host for playbooks, by fabric: commands and files over one connection, for threads.

Belongs here: what a host is to a playbook: facts, running, putting, reading. Does not belong here:
which commands (the playbooks), how one runs and as whom (`commands`), connecting (`dialling`).
"""

from __future__ import annotations

import hashlib
import secrets
import shlex
from collections.abc import Callable
from functools import cached_property
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

from oakctl.errors import OakError
from oakctl.model.config import HostLayout
from oakctl.remote import (
    facts,
    interpreter,
    python_cache,
    reboot,
    residence,
    uploads,
)
from oakctl.remote.channels import (
    Progress,
    no_progress,
)
from oakctl.remote.commands import Commands
from oakctl.remote.dialling import Line
from oakctl.remote.facts import HostFacts
from oakctl.remote.interpreter import Interpreter
from oakctl.remote.residence import Homeless, Residence
from oakctl.remote.step import COMMAND_DEADLINE_S, CommandFailed, Completed, Tell
from oakctl.remote.streaming import Listener
from oakctl.remote.target import Target

IDLE_S = 60.0  # an upload of which no byte is taken for so long is given up
IN_FLIGHT = 4 << 20  # bytes that are on their way when the last one was sent
SLOWEST_LINK = 50_000  # bytes per second, for those
MISSING = 44  # our own exit code for a file that is not there


def open_fabric(target: Target) -> FabricRemote:
    """Connect through the jump hosts, each checked as strictly as the target, and ask for facts.

    Raises Unreachable, in words, when a host cannot be reached, is not believed or does not let
    us in. Blocks: for threads.
    """
    remote = FabricRemote(Line(target))
    try:
        remote.facts  # noqa: B018 - a host that cannot answer is found out here
    except BaseException:
        remote.close()
        raise
    return remote


class FabricRemote:
    """A host, as `remote.step.Remote` describes it. For several threads at a time.

    `close` may be called by another thread: what runs is then cut off and raises Cancelled.
    """

    def __init__(self, line: Line) -> None:
        self._commands = Commands(line, lambda: self.facts)
        self._target = line.target
        self.after_renewal: list[Callable[[], None]] = []
        self._listener: Tell | None = None

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

    @property
    def has_password(self) -> bool:
        """Whether a password for sudo was given."""
        return bool(self._target.sudo_password)

    @cached_property
    def python_there(self) -> str:
        """The folder of the Python that was pushed earlier and is in use; empty: none."""
        link = shlex.quote(str(self.layout.prefix / "python/current"))
        return self.run(f"readlink {link}", check=False).stdout.strip()

    @cached_property
    def interpreter(self) -> Interpreter:
        """The Python to use there; raises OakError where there is none."""
        there = "" if self.facts.python else self.python_there
        chosen = interpreter.choose(self.facts, python_cache.listed(), there)
        return interpreter.required(self.name, chosen)

    @property
    def python(self) -> str:
        """See `Remote`."""
        return self.interpreter.path(self.layout)

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
        return self._commands.execute(
            command, stdin, timeout_s, root=self._owner_is_root, check=check
        )

    def as_login(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        return self._commands.execute(command, stdin, timeout_s, check=check)

    def root(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_DEADLINE_S,
        check: bool = True,
    ) -> Completed:
        """See `Remote`."""
        return self._commands.execute(command, stdin, timeout_s, root=True, check=check)

    def stream(
        self, command: str, listener: Listener, *, timeout_s: float, sudo: bool = False
    ) -> int:
        """Run `command` as the login user, or the superuser, and tell each line as it comes.

        Returns its exit code. Raises as `run` does, CommandFailed excepted.
        """
        done = self._commands.execute(
            command, b"", timeout_s, root=sudo, check=False, listener=listener
        )
        return done.exit_code

    @property
    def _owner_is_root(self) -> bool:
        return (
            self._facts_known and isinstance(self.residence, Residence) and self.residence.as_root
        )

    @property
    def _facts_known(self) -> bool:
        return "facts" in self.__dict__

    def put(
        self, path: str, content: bytes, *, mode: int = 0o600, progress: Progress = no_progress
    ) -> None:
        """See `Remote`. One round trip, and no SFTP server needed, which small systems lack."""
        folder = PurePosixPath(path).parent
        command = (
            "set -e; umask 077; "
            f"path={shlex.quote(path)}; part=$path.{secrets.token_hex(4)}.part; "
            f"mkdir -p -- {shlex.quote(str(folder))}; "
            # What a run left that was cut off; the host's lock says that none is under way.
            'rm -f -- "$path".????????.part; '
            """trap 'rm -f -- "$part"' EXIT; trap 'exit 65' HUP INT PIPE TERM; cat >"$part"; """
            f'[ "$(sha256sum <"$part" | cut -d" " -f1)" = {hashlib.sha256(content).hexdigest()} ] '
            '|| { echo "$path arrived damaged" >&2; exit 65; }; '
            # On the disk before it has its name: after a power cut a file is whole or not there.
            f'chmod {mode:o} "$part"; sync -- "$part"; mv -f -- "$part" "$path"'
        )
        timeout_s = IDLE_S + min(len(content), IN_FLIGHT) / SLOWEST_LINK

        def sent(done: int, total: int) -> None:
            progress(done, total)
            self.tell(PurePosixPath(path).name, done, total)

        with uploads.turn(len(content), self._commands.closed, f"{self.name}: put {path}"):
            self._commands.execute(
                command,
                content,
                timeout_s,
                root=self._owner_is_root,
                label=f"put {path}",
                progress=sent,
            )

    def read(self, path: str) -> bytes | None:
        """See `Remote`."""
        quoted = shlex.quote(path)
        done = self._commands.execute(
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
        return self._commands.attend(command, root=self._owner_is_root)

    def stop(self) -> None:
        """As `close`, and what runs on the host for us is ended there; raises nothing."""
        self._commands.stop()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: what was cut off then is no failure of the host."""
        return self._commands.closed.is_set()

    def require_rights(self) -> None:
        """Try the password where one is needed, once for this connection.

        Raises OakError when there is none, WrongPassword when sudo does not believe it. Called
        before the first step, so that a wrong one is found before anything is done.
        """
        self._commands.require_rights()

    def tell(self, message: str, done: int = 0, total: int = 0) -> None:
        """See `Remote`."""
        if self._listener is not None:
            self._listener(message, done, total)

    def listen(self, listener: Tell | None) -> None:
        """See `Remote`."""
        self._listener = listener

    def reboot(self) -> None:
        """See `Remote`."""
        reboot.carry_out(self)

    def redial(self) -> None:
        """Give the connection up and open another; raises Unreachable, Cancelled."""
        self._commands.redial()

    def pause(self, seconds: float) -> None:
        """Wait; raises Cancelled once `close` was called."""
        self._commands.pause(seconds)

    def renew(self) -> None:
        """Forget what was found out on an earlier connection, and do what was asked for then."""
        for name in ("facts", "residence", "interpreter", "python_there"):
            self.__dict__.pop(name, None)
        self.facts  # noqa: B018 - who we are there is needed for every command
        for again in self.after_renewal:
            again()

    def close(self) -> None:
        """Give the connection up, whatever runs on it; twice is fine."""
        self._commands.close()
