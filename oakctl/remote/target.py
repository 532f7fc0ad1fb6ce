"""How a host is reached by SSH: one answer for both libraries.

Belongs here: address, user, keys, agent, jump hosts, whose host keys are believed, and the words
for what goes wrong on the way. Does not belong here: making the connection (`connection` by
fabric, `tunnel` by asyncssh). The user's ~/.ssh/config is read by neither, so that both go the
same way; what a host needs is written with the host.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh

from oakctl import paths
from oakctl.errors import OakError, Unreachable, UsageError
from oakctl.model.views import HostView
from oakctl.remote import hostkeys
from oakctl.remote.hostkeys import HostKeys

CONNECT_DEADLINE_S = 10.0  # the TCP connection
LOGIN_DEADLINE_S = 20.0  # keys agreed on and user admitted; a busy Pi takes seconds
KEEPALIVE_S = 5.0
KEEPALIVES_MISSED = 3


@dataclass(frozen=True)
class Target:
    """A machine that answers SSH, and how it is reached.

    `jump` are hops as "user@host:port", first hop first; `known_hosts` are further files of host
    keys. An unknown host key is stored with `accept_new` only, a changed one never.
    """

    name: str
    address: str
    port: int = 22
    user: str = ""  # empty: the name of the user here
    identity_file: str = ""  # empty: the agent's keys and ~/.ssh/id_*
    jump: tuple[str, ...] = ()
    accept_new: bool = False
    known_hosts: tuple[str, ...] = ()
    sudo_password: str = field(default="", repr=False)  # in memory only

    @classmethod
    def of(cls, view: HostView, accept_new: bool = False) -> Target:
        """How the host is reached that the operator named."""
        return cls(
            name=view.name,
            address=view.address,
            port=view.port,
            user=view.user,
            identity_file=view.identity_file,
            jump=view.jump,
            accept_new=accept_new,
        )

    @property
    def login(self) -> str:
        """The user's name there."""
        return self.user or getpass.getuser()

    @property
    def where(self) -> str:
        """Address and port, for messages."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"

    @property
    def host_keys(self) -> HostKeys:
        """Whose keys are believed."""
        extra = tuple(Path(file).expanduser() for file in self.known_hosts)
        return HostKeys(
            files=(*hostkeys.default_files(), *extra),
            store=paths.known_hosts(),
            accept_new=self.accept_new,
        )

    def hops(self) -> tuple[Target, ...]:
        """The jump hosts as targets, first hop first; raises UsageError for one that is none."""
        return tuple(self._hop(text) for text in self.jump)

    def _hop(self, text: str) -> Target:
        user, address, port = split_address(text)
        return replace(
            self,
            name=f"{address}, the jump host of {self.name}",
            address=address,
            port=port,
            user=user or self.user,
            jump=(),
            sudo_password="",
        )

    def admit(self, key: asyncssh.SSHKey) -> None:
        """Return when `key` may be this host's; raises Unreachable (see `HostKeys.admit`)."""
        self.host_keys.admit(self.name, self.address, self.port, key)

    def host_key_algorithms(self) -> tuple[str, ...]:
        """Types of host keys to ask for, best first."""
        return self.host_keys.algorithms(self.address, self.port)

    def identity(self) -> Identity:
        """What proves that we are the user; raises Unreachable when the key file is of no use."""
        agent = agent_socket()
        if not self.identity_file:
            return Identity(None, agent)
        file = Path(self.identity_file).expanduser()
        try:
            asyncssh.read_private_key(file)
        except FileNotFoundError as error:
            raise Unreachable(
                f"{self.name}: the key {file} does not exist",
                hint=f"name another one, or make it: ssh-keygen -t ed25519 -f {file}",
            ) from error
        except asyncssh.KeyEncryptionError as error:
            raise self._locked_key(file) from error
        except asyncssh.KeyImportError as error:
            if "passphrase" not in str(error).lower():
                raise Unreachable(f"{self.name}: {file} is no private key: {error}") from error
            if not agent:
                raise self._locked_key(file) from error
            return Identity(None, agent)
        except OSError as error:
            raise Unreachable(
                f"{self.name}: the key {file} cannot be read: {error.strerror}",
                hint=f"chmod 600 {file}",
            ) from error
        # Only this key: an agent full of others would use up the tries that a server grants.
        return Identity(file, "")

    def _locked_key(self, file: Path) -> Unreachable:
        return Unreachable(
            f"{self.name}: the key {file} is protected by a passphrase and no agent holds it",
            hint=f'eval "$(ssh-agent)" && ssh-add {file}',
        )

    def asyncssh_options(self, client: Callable[[], asyncssh.SSHClient]) -> dict[str, Any]:
        """Arguments of `asyncssh.connect`; `client` has to ask `admit` for the host's key."""
        identity = self.identity()
        options: dict[str, Any] = {} if identity.file is None else {"client_keys": [identity.file]}
        return options | {
            "host": self.address,
            "port": self.port,
            "username": self.login,
            "config": None,
            "client_factory": client,
            "known_hosts": ([], [], []),  # none by itself, so that every key goes through `admit`
            "server_host_key_algs": list(self.host_key_algorithms()),
            "x509_trusted_certs": None,
            "agent_path": identity.agent,
            "preferred_auth": "publickey",
            "gss_kex": False,  # it would take a ticket in the place of the host's key
            "connect_timeout": LOGIN_DEADLINE_S,  # to asyncssh: all of it
            "login_timeout": LOGIN_DEADLINE_S,
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES_MISSED,
        }

    def fabric_options(self) -> dict[str, Any]:
        """`connect_kwargs` of `fabric.Connection`; the host's key is the caller's matter."""
        identity = self.identity()
        return {
            "key_filename": [] if identity.file is None else [str(identity.file)],
            "look_for_keys": not self.identity_file,
            "allow_agent": bool(identity.agent),
            "banner_timeout": LOGIN_DEADLINE_S,
            "auth_timeout": LOGIN_DEADLINE_S,
            "channel_timeout": LOGIN_DEADLINE_S,
        }

    def refused(self, reason: str = "") -> Unreachable:
        """The error for a user who was not let in."""
        keys = self.identity_file or "the agent and ~/.ssh/id_*"
        copy = f" -i {self.identity_file}" if self.identity_file else ""
        via = f" -o ProxyJump={','.join(self.jump)}" if self.jump else ""
        return Unreachable(
            f"{self.name}: {self.where} does not let {self.login} in with the key of {keys}",
            hint=f"ssh-copy-id{copy}{via} -p {self.port} {self.login}@{self.address}",
            details=(reason,) if reason else (),
        )

    def no_answer(self, error: BaseException) -> Unreachable:
        """The error for a host that was not reached, with the reason in words."""
        return Unreachable(
            f"{self.name}: {self.where} {reason_of(error)}",
            hint=f"ssh -p {self.port} {self.login}@{self.address} true",
        )


@dataclass(frozen=True)
class Identity:
    """A key file without passphrase, or the agent's socket; both empty: the files ssh looks for."""

    file: Path | None
    agent: str


def agent_socket() -> str:
    """The running agent's socket; empty where SSH_AUTH_SOCK is unset or nobody answers on it."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return ""
    return path


def split_address(text: str) -> tuple[str, str, int]:
    """User, host and port of "user@host:port", "[v6]:port" and the like; raises UsageError."""
    user, _, rest = text.rpartition("@")
    host, port = rest, "22"
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":") or "22"
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is no machine", hint="write it as user@host:port")
    return user, host, int(port)


def reason_of(error: BaseException) -> str:
    """Why a host was not reached, as the rest of a sentence that begins with its address."""
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections: no SSH server listens there"
    if isinstance(error, socket.gaierror):
        return f"cannot be looked up: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be reached: {error.strerror}"
    if isinstance(error, OakError):
        return error.message
    return f"broke the connection off: {str(error) or type(error).__name__}"
