"""What `/v1` shows: the root's answers to CLI, TUI and scripts.

Belongs here: the shapes that the API promises. Times are seconds since the epoch. Does not
belong here: how they are put together (`orchestration.root`) or drawn (`cli`, `tui`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.images import PlatformImage
from oakctl.model.instance import InstanceState
from oakctl.model.messages import Aggregate, ProcessUse, Verdict, WorkerSummary
from oakctl.model.requests import WorkerAdd
from oakctl.model.resources import Location, Resources
from oakctl.model.service import Port, ServiceSpec


@dataclass(frozen=True)
class Finding:
    """A fault or a warning in a descriptor: `path: value: rule`."""

    path: str  # "applications[0].microservices[2].vcpus"
    message: str  # "-1 is not ≥ 0"
    severity: str = "error"  # error, warning
    hint: str = ""  # "did you mean `vcpus`?"

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text


@dataclass(frozen=True)
class HostView:
    """A machine that answers SSH, as the operator named it."""

    name: str
    address: str
    port: int = 22  # 0: not given, as ssh_config says or 22
    user: str = ""
    identity_file: str = ""
    jump: tuple[str, ...] = ()  # user@host:port, first hop first
    lab: str = ""  # the lab that made it; empty: a real one
    role: str = ""  # "orchestrator of edge", "worker edge/w1"; empty: none yet

    @property
    def place(self) -> str:
        """Address and port, for comparing and for people; a port that is not given is 22."""
        return f"{self.address}:{self.port or 22}"


@dataclass(frozen=True)
class HostFinding:
    """Something about a host that one should know before it is used."""

    host: str
    severity: str  # block, fixable, note
    topic: str  # "sudo", "clock", "docker"
    message: str
    remedy: str = ""  # what to type; empty: nothing has to be done


@dataclass(frozen=True)
class HostMachine:
    """What a host is, as far as a proposal of roles needs it."""

    host: str
    architecture: str = ""
    system: str = ""
    cpus: int = 0
    memory_mb: int = 0  # MiB, in all
    device: str = ""  # "Raspberry Pi 5 Model B Rev 1.0"
    gpus: int = 0
    docker: bool = False  # an engine answers


@dataclass(frozen=True)
class HostCheck:
    """What looking at hosts has shown; nothing was changed on them."""

    looked_at: tuple[str, ...]
    findings: tuple[HostFinding, ...]  # worst first
    asks_password: tuple[str, ...] = ()  # hosts whose sudo wants one that was not given
    machines: tuple[HostMachine, ...] = ()  # of those that answered


@dataclass(frozen=True)
class StepEvent:
    """One line of progress of an operation."""

    at: float
    host: str
    step: str  # "bus: start"
    state: str  # planned, running, done, skipped, failed
    message: str = ""
    seconds: float = 0.0
    reboots: bool = False  # of a planned one: the host restarts in it
    done_bytes: int = 0  # of an upload that goes on
    total_bytes: int = 0  # 0: it is none


@dataclass(frozen=True)
class OperationView:
    """Work on hosts that goes on while nobody looks: a bootstrap or a removal."""

    id: int
    kind: str  # "cluster create", "worker add", ...
    subject: str
    state: str  # running, done, failed
    started_at: float
    ended_at: float = 0.0
    error: str = ""
    hint: str = ""
    exit_code: int = 0  # what a CLI call that waits for it returns
    details: tuple[str, ...] = ()
    steps: tuple[StepEvent, ...] = ()


@dataclass(frozen=True)
class HostPlan:
    """What would be done to a host: each step `planned`, with why, or `skipped`: it holds.

    `fault` and what follows are of a host that could not be asked.
    """

    host: str
    steps: tuple[StepEvent, ...] = ()
    fault: str = ""
    hint: str = ""
    exit_code: int = 0
    details: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[StepEvent, ...]:
        """The steps that would change something."""
        return tuple(step for step in self.steps if step.state == "planned")

    @property
    def withheld(self) -> tuple[StepEvent, ...]:
        """The restarts of the host that are needed, and were not agreed to."""
        return tuple(step for step in self.steps if step.reboots and step.state == "skipped")


@dataclass(frozen=True)
class FleetLook:
    """What looking at hosts has shown, and what would be done there; nothing was changed."""

    plans: tuple[HostPlan, ...]  # in the order of what was asked
    check: HostCheck
    release: str  # the node archive that hosts would get


@dataclass(frozen=True)
class ClusterLink:
    """How a cluster hears of services and nodes of another one: by itself, or through the root."""

    cluster: str  # the other
    linked: bool  # False: the root carries, `reason` says why
    dialled_by: str = ""  # which of the two dials
    since: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class ClusterView:
    """A cluster as the root sees it."""

    name: str
    status: str  # creating, ready, unreachable, removing
    status_reason: str
    host: str
    policy: str
    location: Location | None
    workers_ready: int
    workers_total: int
    instances: int
    last_seen: float  # of its last word; 0: never
    node_subnets: str = ""
    aggregate: Aggregate | None = None
    processes: dict[str, ProcessUse] = field(default_factory=dict)
    release: str = ""  # the node archive that its orchestrator runs from
    links: tuple[ClusterLink, ...] = ()  # to every other cluster of the same operator


@dataclass(frozen=True)
class WorkerView:
    """A worker as the root sees it."""

    name: str
    cluster: str
    host: str
    status: str  # joining, ready, suspect, dead, removing
    instances: int
    summary: WorkerSummary | None = None
    asked: WorkerAdd | None = None  # as it was asked for last


@dataclass(frozen=True)
class InstanceView:
    """One instance, with where it is and why."""

    name: str
    job_name: str
    number: int
    epoch: int
    state: InstanceState
    ready: bool
    since: float
    cluster: str = ""
    worker: str = ""
    address: str = ""  # overlay address
    bind: str = ""  # the address it listens on
    pid: int = 0
    restarts: int = 0
    crash_looping: bool = False
    exit_code: int | None = None
    reason: str = ""  # why it is pending or failed
    limits: str = ""
    cpu_percent: float = 0.0  # of one core
    memory_mb: float = 0.0  # MiB
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_at: float = 0.0


@dataclass(frozen=True)
class ServiceView:
    """A service: what is wanted of it and what there is."""

    job_name: str
    application: str
    name: str
    wanted: int
    ready: int
    running: int
    state: str  # ready, starting, pending, degraded, stopped
    reason: str
    spec: ServiceSpec
    rr_ip: str = ""
    closest_ip: str = ""
    ports: tuple[Port, ...] = ()
    requests: Resources = Resources()
    least_ip: str = ""
    replacing: int = 0  # instances that are still to be replaced
    halted: str = ""  # why replacing them was given up; what ran before goes on


@dataclass(frozen=True)
class ApplicationView:
    """An application and its services."""

    name: str  # application.namespace
    description: str
    created_at: float
    state: str  # ready, starting, pending, degraded, deleting
    services: tuple[ServiceView, ...] = ()


@dataclass(frozen=True)
class ApplyResult:
    """What `app apply` did: everything in the descriptor is durable when this is returned."""

    applications: tuple[str, ...]
    created: tuple[str, ...]  # those that were new; the others were unchanged
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Decision:
    """One scheduling decision, with the verdict on every candidate."""

    at: float
    instance: str
    by: str  # "root", or the cluster's name
    outcome: str  # "edge", "edge/w2", "refused", "pending"
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why the instances of a service are where they are, or are nowhere."""

    job_name: str
    summary: str
    decisions: tuple[Decision, ...] = ()
    notes: tuple[str, ...] = ()  # fields not enforced, limits not enforced, declared devices


@dataclass(frozen=True)
class ServicePreview:
    """Where the first instance of a service would go now."""

    job_name: str
    is_new: bool  # False: there is one of that name, whatever its descriptor
    replicas: int
    cluster: str = ""  # empty: no cluster would take it, and it would wait
    worker: str = ""
    decisions: tuple[Decision, ...] = ()  # the root's, then that of each cluster that it asked


@dataclass(frozen=True)
class Preview:
    """What applying a descriptor would lead to."""

    services: tuple[ServicePreview, ...]
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class RootStatus:
    """The root process itself."""

    version: str
    pid: int
    started_at: float
    state_directory: str
    clusters: int
    workers: int
    applications: int
    instances_running: int
    undelegated: int  # wanted instances that no cluster has yet
    rss_mb: float = 0.0
    cpu_percent: float = 0.0


@dataclass(frozen=True)
class ImageView:
    """An image that was pushed."""

    name: str  # "ar:1"
    images: tuple[PlatformImage, ...]  # one for each platform
    pushed_at: float
    services: tuple[str, ...] = ()  # job names of those that run it


@dataclass(frozen=True)
class ImageProgress:
    """How far an image is on its way into a cluster, in bytes."""

    there: int
    size: int
    sent: int  # over this link, for this push
    ended: bool = False


@dataclass(frozen=True)
class SecretView:
    """A named secret: everything but its value."""

    name: str
    kind: str  # plain, registry
    changed_at: float
    registry: str = ""
    username: str = ""
    services: tuple[str, ...] = ()  # job names of those that are given it
