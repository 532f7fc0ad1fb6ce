"""What is known of a machine: facts that seldom change, and usage that always does.

Belongs here: what a worker says of itself. Does not belong here: how it finds out
(`orchestration.worker`, `remote.facts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.overlay import TUNNEL_PORT
from oakctl.model.resources import Location, Resources


@dataclass(frozen=True)
class ContainerGrants:
    """What containers may have of a host. Its operator gives it, in `etc/grants.json` there.

    Without that file they get nothing of this. Where `vgpu_devices` or `vtpu_devices` are given,
    a vgpu or vtpu of the node is one of these device nodes.
    """

    privileged: bool = False
    capabilities: tuple[str, ...] = ()  # without CAP_: "NET_ADMIN"
    devices: tuple[str, ...] = ()  # "/dev/ttyUSB0"
    host_paths: tuple[str, ...] = ()  # these and all below; "/srv/models:ro" only to read
    vgpu_devices: tuple[str, ...] = ()
    vtpu_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ContainerFacts:
    """What a node can do with containers."""

    engine: str = ""  # "Docker 20.10.24, API 1.41"; empty: no containers here
    reason: str = ""  # why there are none, in words
    platform: str = ""  # "linux/amd64": which images run here
    gpus: str = ""  # how a container gets a GPU: "nvidia", "jetson", "devices"; empty: it doesn't
    grants: ContainerGrants = ContainerGrants()


@dataclass(frozen=True)
class NodeFacts:
    """What a worker offers. `capacity` is what it contributes, not what the machine has."""

    hostname: str
    architecture: str  # of the userland: x86_64, aarch64, armv7l
    system: str  # "Debian GNU/Linux 12 (bookworm)"
    python: str  # "3.11.7"
    capacity: Resources
    runtimes: tuple[str, ...] = ("process",)  # what `virtualization` may be here
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    limits_enforced: bool = False  # CPU, memory and process limits, by cgroup
    limits_reason: str = ""  # why not, in words
    declared: tuple[str, ...] = ()  # resources that are declared and not there: ("vgpus",)
    address: str = ""  # where other nodes reach this one (underlay)
    overlay_driver: str = "loopback"
    loopback_number: int | None = None  # even N: services on 127.N.x.y, instances on 127.N+1.x.y
    agent_version: str = ""
    overlay_reason: str = ""  # what the overlay cannot do here, in words
    containers: ContainerFacts = ContainerFacts()
    tunnel_key: str = ""  # WireGuard's public key; empty: no kernel overlay here
    tunnel_port: int = TUNNEL_PORT  # UDP
    tunnel_endpoint: str = ""  # where others may send to by its operator's word
    relay: bool = False  # others may send by way of it
    seen_address: str = ""  # where the bus sees its connection come from; empty: it did not say
    release: str = ""  # the version of the node archive that the agent runs from
    secrets: bool = False  # whether instances here can be given secrets
    secrets_reason: str = ""  # why not, in words


@dataclass(frozen=True)
class Usage:
    """What a node uses right now."""

    cpu_percent: float = 0.0  # of all its cores together
    memory_percent: float = 0.0
    memory_used_mb: int = 0  # MiB
    disk_free_mb: int = 0  # MiB, on the file system that holds artifacts
    agent_rss_mb: float = 0.0  # MiB, of the agent itself
    agent_cpu_percent: float = 0.0  # of one core
    relay_rss_mb: float = 0.0  # MiB, of the loopback relay; 0 where there is none
    relay_cpu_percent: float = 0.0  # of one core
