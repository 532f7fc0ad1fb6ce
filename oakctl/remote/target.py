"""How a host is reached by SSH: the one policy that both SSH libraries follow.

Belongs here: user, port, key, agent, jump hosts and host keys, and what each library is given of
them. Fabric by itself accepts changed host keys, and asyncssh checks no keys of jump hosts; here
every hop of either asks `hostkeys`. Does not belong here: what is done over the connection.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import fabric
import paramiko

from oakctl import paths
from oakctl.errors import OakError, Unreachable, UsageError
from oakctl.model.views import HostView
from oakctl.remote.hostkeys import HostKeys, default_files

CONNECT_TIMEOUT_S = 10
LOGIN_TIMEOUT_S = 20
KEEPALIVE_S = 5
KEEPALIVE_MISSES = 3


@dataclass(frozen=True)
class Hop:
    """One machine on the way; the last one is the host itself."""

    name: str
    address: str
    port: int
    user: str


@dataclass(frozen=True)
class Target:
    """A host and how to reach it. `jump` is "user@host:port", first hop first."""

    name: str
    address: str
    port: int = 22
    user: str = ""
    identity_file: str = ""
    jump: tuple[str, ...] = ()
    accept_new: bool = False
    known_hosts: tuple[str, ...] = ()  # further files to believe, besides the default ones

    @classmethod
    def of(cls, view: HostView, accept_new: bool = False) -> Target:
        """The target of a host in the operator's inventory."""
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
    def host_keys(self) -> HostKeys:
        """The keys that are trusted for this host and its hops."""
        files = (*default_files(), *(Path(name) for name in self.known_hosts))
        return HostKeys(files, paths.known_hosts(), self.accept_new)

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Every machine on the way, the host last; raises UsageError for a jump that is none."""
        return (
            *(_hop(text) for text in self.jump),
            Hop(self.name, self.address, self.port, self.user),
        )

    @property
    def identity(self) -> Path | None:
        """The private key (None: agent and defaults); raises UsageError when it is not there."""
        if not self.identity_file:
            return None
        path = Path(self.identity_file).expanduser()
        if not path.is_file():
            raise UsageError(
                f"{self.name}: there is no key file {path}",
                hint=f"oakctl host add {self.name} … -i KEY",
            )
        return path

    def unreachable(self, hop: Hop, error: Exception) -> Unreachable:
        """What a failed connection to `hop` means, in words, with the next thing to try."""
        where = f"{self.name}: {hop.address}:{hop.port}"
        login = f"ssh -p {hop.port} {hop.user + '@' if hop.user else ''}{hop.address}"
        if isinstance(error, asyncssh.PermissionDenied | paramiko.AuthenticationException):
            with_key = self.identity_file or "the agent's and your default keys"
            return Unreachable(
                f"{where} refused to log in {hop.user or 'the current user'} with {with_key}",
                hint=f"try `{login}`, then `oakctl host add {self.name} USER@ADDRESS -i KEY`",
            )
        if isinstance(error, TimeoutError | socket.timeout):
            return Unreachable(f"{where} does not answer in time", hint=f"try `{login}`")
        text = str(error) or type(error).__name__
        return Unreachable(f"{where} cannot be reached: {text}", hint=f"try `{login}`")


def agent_socket() -> str | None:
    """The SSH agent's socket when an agent answers there; a dead one would only cost time."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except OSError:
            return None
    return path


class _Client(asyncssh.SSHClient):
    """Asks our one rule about every host key; asyncssh itself is given none to trust."""

    def __init__(self, keys: HostKeys, hop: Hop) -> None:
        self._keys, self._hop = keys, hop
        self.refusal: OakError | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Whether `key` is trusted for this hop; why not is kept for the one who connects."""
        try:
            self._keys.admit(self._hop.name, self._hop.address, self._hop.port, key)
        except OakError as refusal:
            self.refusal = refusal
            return False
        return True


async def open_asyncssh(target: Target) -> tuple[asyncssh.SSHClientConnection, ...]:
    """A connection to the host, after those to its jump hosts; the caller closes all of them.

    Raises Unreachable with the reason; nothing is left open then.
    """
    opened: list[asyncssh.SSHClientConnection] = []
    try:
        for hop in target.hops:
            opened.append(await _dial(target, hop, opened[-1] if opened else None))
    except BaseException:
        for connection in reversed(opened):
            connection.abort()
        raise
    return tuple(opened)


async def _dial(
    target: Target, hop: Hop, tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    client = _Client(target.host_keys, hop)
    try:
        return await asyncssh.connect(
            hop.address,
            hop.port,
            client_factory=lambda: client,
            **_asyncssh_options(target, hop, tunnel),
        )
    except (OSError, asyncssh.Error) as error:
        if client.refusal is not None:
            raise client.refusal from error
        raise target.unreachable(hop, error) from error


def _asyncssh_options(
    target: Target, hop: Hop, tunnel: asyncssh.SSHClientConnection | None
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "known_hosts": ([], [], []),
        "config": None,
        "agent_path": agent_socket(),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "login_timeout": LOGIN_TIMEOUT_S,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVE_MISSES,
    }
    if tunnel is not None:
        options["tunnel"] = tunnel
    if hop.user:
        options["username"] = hop.user
    if target.identity is not None:
        options["client_keys"] = [str(target.identity)]
    stored = target.host_keys.trusted(hop.address, hop.port)
    if stored:
        # A server that offers a key of another kind first would look like a changed one.
        options["server_host_key_algs"] = [a for key in stored for a in _signatures(key)]
    return options


def _signatures(key: asyncssh.SSHKey) -> list[str]:
    return [algorithm.decode() for algorithm in key.sig_algorithms]


class _Policy:
    """Duck-typed as paramiko's MissingHostKeyPolicy (which has no types). Paramiko is given no known keys, so it asks this about every key."""

    def __init__(self, keys: HostKeys, hop: Hop) -> None:
        self._keys, self._hop = keys, hop

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        """Return when the key is trusted; raises Unreachable."""
        public = asyncssh.import_public_key(f"{key.get_name()} {key.get_base64()}")
        self._keys.admit(self._hop.name, self._hop.address, self._hop.port, public)


def fabric_connection(target: Target) -> Any:
    """An unopened fabric Connection, through its jump hosts, that asks our rule at every hop."""
    connection: Any = None
    for hop in target.hops:
        connection = _fabric_hop(target, hop, connection)
    return connection


def _fabric_hop(target: Target, hop: Hop, gateway: Any) -> Any:
    kwargs: dict[str, Any] = {
        "look_for_keys": target.identity is None,
        "allow_agent": agent_socket() is not None,
        "banner_timeout": LOGIN_TIMEOUT_S,
        "auth_timeout": LOGIN_TIMEOUT_S,
    }
    if target.identity is not None:
        kwargs["key_filename"] = str(target.identity)
    stored = {key.get_algorithm() for key in target.host_keys.trusted(hop.address, hop.port)}
    if stored:
        every = paramiko.Transport._preferred_keys
        wanted = {name for name in every if _kind(name) in {_kind(kind) for kind in stored}}
        kwargs["disabled_algorithms"] = {"keys": [name for name in every if name not in wanted]}
    connection = fabric.Connection(
        hop.address,
        user=hop.user or None,
        port=hop.port,
        gateway=gateway,
        connect_timeout=CONNECT_TIMEOUT_S,
        config=fabric.Config(overrides={"load_ssh_configs": False}),
        connect_kwargs=kwargs,
    )
    connection.client.set_missing_host_key_policy(_Policy(target.host_keys, hop))
    return connection


def _kind(algorithm: str) -> str:
    """The kind of key behind a signature's name: RSA has three."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _hop(text: str) -> Hop:
    user, _, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, "22"
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise UsageError(f"{text!r} is not a jump host", hint="write it as USER@HOST:PORT")
    return Hop(host, host, int(port), user)
