"""Files on a host that our processes there are started with, and where everything lies.

Belongs here: the shape of those files (JSON through `wire`) and the layout of a host's prefix;
the playbooks write them, the node's processes read them. Does not belong here: the operator's
own configuration (`oakctl.paths`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from oakctl.model.overlay import TUNNEL_PORT
from oakctl.model.resources import Location, Resources

BUS_PORT = 4222


def endpoint(address: str, port: int) -> str:
    """Address and port as they stand in a URL: "10.0.0.5:4222", "[fd00::5]:4222"."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True)
class BusAccess:
    """How to reach a bus and who one is there."""

    url: str  # tls://host:port
    tls_hostname: str  # the cluster's id: what the server's certificate names
    ca_file: str
    user: str
    secret_file: str  # 0600, the password alone


@dataclass(frozen=True)
class WorkerConfig:
    """`etc/worker.json`: what `oakctl-node worker` needs."""

    worker: str
    cluster: str
    prefix: str
    bus: BusAccess
    contribution: Resources = Resources()  # zero fields: what the machine has
    declared: tuple[str, ...] = ()  # resources of the contribution that are not really there
    runtimes: tuple[str, ...] = ("process",)
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    address: str = ""  # underlay address of this host
    overlay_driver: str = "loopback"  # or "kernel"; or "host": none
    overlay_reason: str = ""  # why this one, in words
    tunnel_port: int = TUNNEL_PORT  # UDP
    tunnel_endpoint: str = ""  # declared: "203.0.113.5:51820"; empty: as far as its address does
    relay: bool = False  # other nodes of its cluster may send by way of it
    loopback_number: int | None = None
    cgroup_root: str = ""  # where limits may be set; empty: probe
    heartbeat_s: float = 1.0
    docker_socket: str = ""  # empty: the usual one, and in a loopback lab none


@dataclass(frozen=True)
class Timers:
    """When a silent worker is suspected and given up, in seconds."""

    heartbeat_s: float = 1.0
    suspect_s: float = 2.0
    dead_s: float = 4.0
    first_sign_s: float = 15.0  # from NODE_SCHEDULED to the worker's first word of the instance
    progress_s: float = 60.0  # CREATING without progress


@dataclass(frozen=True)
class ClusterConfig:
    """`etc/cluster.json`: what `oakctl-node cluster` needs."""

    cluster: str
    prefix: str
    bus: BusAccess  # as the orchestrator
    watcher: BusAccess  # as the watcher in the system account
    node_subnets: str  # this cluster's block, a /26 of it for each worker: "10.18.0.0/20"
    policy: str = "rom"
    location: Location | None = None
    timers: Timers = Timers()


@dataclass(frozen=True)
class Unit:
    """A process that a supervisor keeps running."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: str = ""


class HostLayout:
    """Where everything of ours lies on a host, below one prefix.

    `/opt/oakctl` where we are the superuser, `~/.oakctl` where not.

    releases/<version>/oakctl-node.pyz   one directory per node archive
    current -> releases/<version>        switched atomically
    bin/nats-server                      the bus server
    python/<start of sha256>/bin/python3 a Python that was pushed, where the host's own is too old
    python/current -> <start of sha256>  the one in use
    etc/                                 configuration, 0700; secrets 0600
    etc/units/<name>.json                units of the `plain` supervisor
    state/                               durable state of bus, orchestrator and agent
    run/                                 pid files
    log/<unit>.log                       output of our own processes
    instances/<instance name>/           working directory, log and state of each instance
    artifacts/<sha256>/                  unpacked artifacts
    manifest.json                        all that was made on this host
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = PurePosixPath(prefix)

    @property
    def archive(self) -> str:
        """The node archive in force."""
        return str(self.prefix / "current" / "oakctl-node.pyz")

    @property
    def nats_server(self) -> str:
        """The bus server's program."""
        return str(self.prefix / "bin" / "nats-server")

    def python(self, name: str) -> str:
        """The program of a Python that was pushed."""
        return str(self.prefix / "python" / name / "bin" / "python3")

    @property
    def manifest(self) -> str:
        """What was made on this host, so that it can be taken away again."""
        return str(self.prefix / "manifest.json")

    @property
    def bus_config(self) -> str:
        """nats-server's configuration; it includes `bus_users`."""
        return self.etc("bus/nats.conf")

    @property
    def bus_users(self) -> str:
        """The included file with the users of the cluster's account, written by us alone."""
        return self.etc("bus/users.inc")

    @property
    def bus_users_source(self) -> str:
        """Users, hashes and roles as JSON: what `bus_users` is rendered from."""
        return self.etc("bus/users.json")

    @property
    def bus_pid(self) -> str:
        """Where nats-server writes its process id; SIGHUP to it reloads the users."""
        return self.run("bus.pid")

    @property
    def grants(self) -> str:
        """What containers may have of this host (`ContainerGrants`); its operator writes it."""
        return self.etc("grants.json")

    @property
    def admission(self) -> str:
        """What roots may do in this host's cluster; the cluster's operator writes it."""
        return self.etc("admission.conf")

    @staticmethod
    def version_of(program: str) -> str:
        """The version of the release that a program (its path, links resolved) is part of."""
        folder = PurePosixPath(program).parent
        return folder.name if folder.parent.name == "releases" else ""

    def release(self, version: str) -> str:
        """The directory of one node archive."""
        return str(self.prefix / "releases" / version)

    def etc(self, name: str) -> str:
        """A configuration file."""
        return str(self.prefix / "etc" / name)

    def state(self, name: str) -> str:
        """A file or directory of durable state."""
        return str(self.prefix / "state" / name)

    def run(self, name: str) -> str:
        """A file that lives as long as a process."""
        return str(self.prefix / "run" / name)

    def log(self, unit: str) -> str:
        """The log of one of our own processes."""
        return str(self.prefix / "log" / f"{unit}.log")

    def unit(self, name: str) -> str:
        """A unit of the `plain` supervisor."""
        return str(self.prefix / "etc" / "units" / f"{name}.json")

    def instance(self, name: str) -> str:
        """The directory of one instance."""
        return str(self.prefix / "instances" / name)

    def artifact(self, sha256: str) -> str:
        """The directory of one unpacked artifact."""
        return str(self.prefix / "artifacts" / sha256)
