"""How a host is reached by SSH: one answer for both libraries.

Belongs here: address, user, keys, agent, jump hosts, whose host keys are believed, and the words
for what goes wrong on the way. Does not belong here: making the connection (`dialling` by
fabric, `tunnel` by asyncssh), what ssh_config says (`route`). Neither library reads any
configuration by itself, so that both go the same way.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from oakctl import paths
from oakctl.errors import OakError, Unreachable, UsageError
from oakctl.model.views import HostView
from oakctl.remote import hostkeys, identity
from oakctl.remote.hostkeys import HostKeys
from oakctl.remote.identity import Identity, Passphrases, no_passphrase

CONNECT_DEADLINE_S = 10.0  # the TCP connection
LOGIN_DEADLINE_S = 20.0  # keys agreed on and user admitted; a busy Pi takes seconds
KEEPALIVE_S = 14.0
KEEPALIVES_MISSED = 4  # in a row: the link is dead, within a minute


@dataclass(frozen=True)
class Target:
    """A machine that answers SSH, and how it is reached.

    `jump` are hops as "user@host:port", first hop first; `known_hosts` are further files of host
    keys. An unknown host key is stored with `accept_new` only, a changed one never. With
    `ssh_config` the user's own configuration fills in what is not given here (`route`): such a
    target is a question, the last of its route the answer.
    """

    name: str
    address: str
    port: int = 22  # 0: not given
    user: str = ""  # empty: the name of the user here
    identity_file: str = ""  # empty: the agent's keys and ~/.ssh/id_*
    jump: tuple[str, ...] = ()
    accept_new: bool = False
    known_hosts: tuple[str, ...] = ()
    sudo_password: str = field(default="", repr=False)  # in memory only
    before: str = ""  # of a jump host: the host that is reached through it
    ssh_config: bool = False
    passphrases: Passphrases = field(default=no_passphrase, repr=False, compare=False)
    # What only ssh_config says; `alias` is what it was asked about.
    alias: str = ""
    key_files: tuple[str, ...] = ()
    keys_only: bool = False  # none of the agent's that is not named
    agent: str = ""  # its socket; empty: SSH_AUTH_SOCK's
    without_agent: bool = False
    proxy_command: str = ""
    host_key_name: str = ""  # by which its key is stored, whatever its address and port
    host_key_files: tuple[str, ...] = ()  # instead of ssh's own
    origins: tuple[tuple[str, str], ...] = ()  # what → where that was said
    remarks: tuple[str, ...] = ()  # what was said and cannot be gone by

    @classmethod
    def of(
        cls,
        view: HostView,
        accept_new: bool = False,
        passphrases: Passphrases = no_passphrase,
    ) -> Target:
        """How the host is reached that the operator named.

        A lab's host is reached as the lab says, whatever ssh_config has for all hosts.
        """
        return cls(
            name=view.name,
            address=view.address,
            port=view.port,
            user=view.user,
            identity_file=view.identity_file,
            jump=view.jump,
            accept_new=accept_new,
            ssh_config=not view.lab,
            passphrases=passphrases,
        )

    @property
    def login(self) -> str:
        """The user's name there."""
        return self.user or getpass.getuser()

    @property
    def called(self) -> str:
        """What `ssh` would be given as its destination."""
        return self.alias or self.address

    @property
    def where(self) -> str:
        """Address and port, for messages."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}" if self.port else address

    @property
    def key_place(self) -> tuple[str, int]:
        """The name and port under which its host key is stored."""
        return (self.host_key_name, 22) if self.host_key_name else (self.address, self.port)

    @property
    def host_keys(self) -> HostKeys:
        """Whose keys are believed."""
        usual = tuple(Path(file) for file in self.host_key_files) or hostkeys.default_files()
        extra = tuple(Path(file).expanduser() for file in self.known_hosts)
        return HostKeys(
            files=(*usual, *extra), store=paths.known_hosts(), accept_new=self.accept_new
        )

    def admit(self, key: asyncssh.SSHKey) -> None:
        """Return when `key` may be this host's; raises Unreachable (see `HostKeys.admit`)."""
        self.host_keys.admit(self.name, *self.key_place, key, known_as=self.before or self.name)

    def host_key_algorithms(self) -> tuple[str, ...]:
        """Types of host keys to ask for, best first."""
        return self.host_keys.algorithms(*self.key_place)

    @property
    def named_keys(self) -> tuple[str, ...]:
        """Key files that were named; empty: the agent's keys and the usual files."""
        return (self.identity_file,) if self.identity_file else self.key_files

    def identity(self) -> Identity:
        """What proves that we are the user; raises Unreachable when the key file is of no use,
        KeyLocked when nothing can be offered before a passphrase is given."""
        found = self._keys()
        if not found.offers and found.locked:
            raise identity.locked(self.name, found.locked[0])
        return found

    def locked_keys(self) -> tuple[Path, ...]:
        """Key files that could be offered if their passphrase was known; raises Unreachable."""
        return self._keys().locked

    def _keys(self) -> Identity:
        return identity.find(
            self.name,
            self.named_keys,
            required=bool(self.identity_file),
            # Only this key: an agent full of others would use up the tries that a server grants.
            only=self.keys_only or bool(self.identity_file),
            agent="" if self.without_agent else identity.agent_socket(self.agent),
            passphrases=self.passphrases,
        )

    def asyncssh_options(
        self, client: Callable[[], asyncssh.SSHClient], keys: Sequence[asyncssh.SSHKeyPair] = ()
    ) -> dict[str, Any]:
        """Arguments of `asyncssh.connect`; `client` has to ask `admit` for the host's key, `keys`
        are offered in their order."""
        options: dict[str, Any] = {
            "host": self.address,
            "port": self.port,
            "username": self.login,
            "config": None,
            "client_factory": client,
            "client_keys": list(keys) or None,
            "known_hosts": ([], [], []),  # none by itself, so that every key goes through `admit`
            "server_host_key_algs": list(self.host_key_algorithms()),
            "x509_trusted_certs": None,
            "agent_path": None,  # its keys are among `keys`, in our order
            "preferred_auth": "publickey",
            "gss_kex": False,  # it would take a ticket in the place of the host's key
            "connect_timeout": LOGIN_DEADLINE_S,  # to asyncssh: all of it
            "login_timeout": LOGIN_DEADLINE_S,
            "keepalive_interval": KEEPALIVE_S,
            "keepalive_count_max": KEEPALIVES_MISSED - 1,  # asyncssh gives up after one more
        }
        return options | ({"proxy_command": self.proxy_words} if self.proxy_command else {})

    @property
    def proxy_words(self) -> list[str]:
        """The program that carries the connection, run by a shell as ssh does it."""
        return ["/bin/sh", "-c", f"exec {self.proxy_command}"]

    def refused(self, reason: str = "", found: Identity | None = None) -> Unreachable:
        """The error for a user who was not let in; a key that was locked comes before all else."""
        if found is not None and found.locked:
            return identity.locked(self.name, found.locked[0])
        keys = ", ".join(self.named_keys) or "the agent and ~/.ssh/id_*"
        copy = f" -i {self.identity_file}" if self.identity_file else ""
        via = f" -o ProxyJump={','.join(self.jump)}" if self.jump else ""
        return Unreachable(
            f"{self.name}: {self.where} does not let {self.login} in with the key of {keys}",
            hint=f"ssh-copy-id{copy}{via} -p {self.port} {self.login}@{self.address}",
            details=(reason,) if reason else (),
        )

    def too_many_keys(self) -> Unreachable:
        """The error for a server that hangs up before the right key had its turn."""
        return Unreachable(
            f"{self.name}: {self.where} hung up: too many keys were tried for {self.login}",
            hint=f"name the one: oakctl host add {self.name} {self.login}@{self.where} -i KEY",
        )

    def no_answer(self, error: BaseException) -> Unreachable:
        """The error for a host that was not reached, with the reason in words."""
        return Unreachable(
            f"{self.name}: {self.where} {reason_of(error)}",
            hint=f"ssh -p {self.port} {self.login}@{self.address} true",
        )


def split_address(text: str, unsaid: int = 22) -> tuple[str, str, int]:
    """User, host and port of "user@host:port", "[v6]:port" and the like; raises UsageError.

    `unsaid` is the port where none is written.
    """
    user, _, rest = text.rpartition("@")
    host, port, ends = rest, "", ""
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        ends, port = tail[:1], tail[1:]
    elif rest.count(":") == 1:
        host, ends, port = rest.partition(":")
    good = not ends or (ends == ":" and port.isdecimal() and 0 < int(port) < 65536)
    if not host or not good:
        raise UsageError(f"{text!r} is no machine", hint="write it as user@host:port")
    return user, host, int(port or unsaid)


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
