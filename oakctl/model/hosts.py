"""How hosts are reached, whose keys are believed, and commands on them: what crosses the socket.

Belongs here: requests and answers of the root about SSH. Does not belong here: a host as the
operator named it (`views`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Machine:
    """One machine on the way to a host, with all that SSH is told of it."""

    name: str  # "pi-1", "gate, the jump host of pi-1"
    address: str
    port: int
    user: str
    keys: tuple[str, ...] = ()  # files; empty: the agent's and ~/.ssh/id_*
    proxy_command: str = ""
    origins: dict[str, str] = field(default_factory=dict)  # "port" → given, ssh_config, default
    remarks: tuple[str, ...] = ()  # what is configured and cannot be gone by
    locked: tuple[str, ...] = ()  # key files whose passphrase is not known


@dataclass(frozen=True)
class HostReach:
    """The way to a host: jump hosts, first hop first, and the host itself."""

    host: str
    machines: tuple[Machine, ...]


@dataclass(frozen=True)
class HostKey:
    """The key that the first machine on the way shows that is not trusted, or else the host."""

    machine: str
    where: str  # address:port
    state: str  # trusted, unknown, changed, revoked
    presented: str  # "ssh-ed25519 SHA256:…"
    fingerprint: str  # "SHA256:…"
    stored: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # where those stand


@dataclass(frozen=True)
class HostTrust:
    """Trust the key with this fingerprint from now on, in the place of what was stored."""

    fingerprint: str


@dataclass(frozen=True)
class KeyPassphrase:
    """The passphrase of a private key, for the root's memory alone; empty: forget it."""

    file: str
    passphrase: str = field(repr=False)


@dataclass(frozen=True)
class HostRun:
    """Run a command on hosts, side by side; `command` are words, each arrives as one."""

    hosts: tuple[str, ...]
    command: tuple[str, ...]
    sudo: bool = False
    accept_new: bool = False
    timeout_s: float = 600.0


@dataclass(frozen=True)
class HostOutput:
    """A line that a command has written on a host."""

    host: str
    stream: str  # out, err
    text: str


@dataclass(frozen=True)
class HostEnded:
    """A command has ended on a host, or was not run there: then `error` says why."""

    host: str
    exit_code: int
    error: str = ""
    hint: str = ""
    details: tuple[str, ...] = ()
