"""What a host has, piece by piece: file systems, Docker, network, control groups.

Belongs here: the shapes alone. Does not belong here: the host as a whole and how it is asked
(`facts`), what follows from it (`preflight`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listener:
    """Who has the bus's port. `pid` is 0 where it belongs to another user."""

    address: str  # "0.0.0.0", "::", "127.4.0.1"
    pid: int = 0
    command: str = ""


@dataclass(frozen=True)
class Place:
    """A file system that we would live on. -1: it does not say."""

    free_mb: int = 0  # MiB
    inodes: int = -1  # in all; 0: this kind has no fixed number
    inodes_free: int = -1
    kind: str = ""  # "ext4", "overlay", "nfs4"
    options: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return "ro" in self.options

    @property
    def no_exec(self) -> bool:
        """Whether programs there do not start."""
        return "noexec" in self.options


@dataclass(frozen=True)
class Docker:
    """The engine's answer, where there is an engine."""

    installed: bool = False
    version: str = ""  # empty: it does not answer us
    architecture: str = ""  # of the engine: amd64, arm64, arm
    runtimes: tuple[str, ...] = ()
    storage_driver: str = ""
    root_directory: str = ""
    engine_id: str = ""
    images: Place = Place()  # where `root_directory` lies


@dataclass(frozen=True)
class Network:
    """What the kernel and its tools can do; empty: it could not be found out without rights."""

    wireguard: str = ""  # "kernel", "missing"
    wireguard_userspace: bool = False  # a program for it, and /dev/net/tun
    nftables: str = ""  # "yes", "missing", "does not work"
    iptables: str = ""  # "nf_tables", "legacy"
    forward_policy: str = ""  # of iptables' FORWARD: "ACCEPT", "DROP"
    legacy_rules: int = 0
    nft_rules: int = 0
    firewalls: tuple[str, ...] = ()  # that are active: "ufw", "firewalld"
    iptable_raw: str = ""  # "yes", "no"
    drops_input: bool = False  # what is not let in by a rule of its own
    tun: bool = False  # /dev/net/tun is there
    routes: tuple[str, ...] = ()  # "10.30.5.0/24 eth1", of those that an overlay may collide with
    tunnel_port_taken: bool = False  # UDP 51820, by somebody else


@dataclass(frozen=True)
class Control:
    """Control groups, for limits."""

    version: str = ""  # "v1", "v2", "hybrid"
    memory: bool = False


@dataclass(frozen=True)
class CommandLine:
    """The kernel's command line of a Raspberry Pi, which is one line in a file."""

    file: str = ""
    lines: int = 0
    text: str = ""
    booted_with: str = ""  # what the running kernel was started with


@dataclass(frozen=True)
class Install:
    """Something of ours that is there already."""

    prefix: str
    readable: bool = True  # if not, nothing below is known
    roles: tuple[str, ...] = ()  # as set up: "orchestrator of edge", "worker edge/w1"
    recorded: tuple[str, ...] = ()  # in the manifest: "cluster", "worker"
    has_release: bool = False  # the programs of a role are whole and in force
    holder: str = ""  # who worked on it last: "anna on laptop, process 4711"

    @property
    def is_whole(self) -> bool:
        """Whether every role that was begun has been set up."""
        kinds = {"cluster" if role.startswith("orch") else "worker" for role in self.roles}
        return self.has_release and bool(kinds) and set(self.recorded) <= kinds
