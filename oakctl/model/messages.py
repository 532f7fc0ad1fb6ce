"""Requests and answers on the bus: worker ↔ cluster orchestrator, root ↔ cluster orchestrator.

Belongs here: the bodies of messages; `subjects` names where each travels, `wire` makes JSON of
them. Does not belong here: documents that replace one another (`documents`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.documents import ServiceTable
from oakctl.model.instance import InstanceStatistics, ObservedInstance
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.peers import PeerSummary
from oakctl.model.resources import Location, Resources
from oakctl.model.roots import RootSummary
from oakctl.model.secrets import SecretValue
from oakctl.model.service import ServiceSpec
from oakctl.model.tokens import TokenSummary

PROTOCOL = 1  # raised with each incompatible change; this one and the one before are understood


# --- worker → cluster orchestrator ---------------------------------------------------------


@dataclass(frozen=True)
class Greeting:
    """The first request of an agent after each (re)connect."""

    worker: str
    agent_id: str
    protocol: int
    facts: NodeFacts


@dataclass(frozen=True)
class GreetingAnswer:
    """`accepted` false: `reason` says why, and the agent stops with it."""

    accepted: bool
    protocol: int = PROTOCOL
    reason: str = ""
    heartbeat_s: float = 1.0


@dataclass(frozen=True)
class DocumentRequest:
    """ "Since revision N": the answer is the whole document, or nothing when N is current."""

    worker: str
    have: int


@dataclass(frozen=True)
class ReportAnswer:
    """The report with this sequence number is durable in the cluster."""

    seq: int


@dataclass(frozen=True)
class ChunkRequest:
    """`length` bytes of an artifact from `offset`; the answer's body is the bytes themselves.

    The answer's header `Oakctl-Size` is the artifact's size in bytes, `Oakctl-Error` says why
    there is none.
    """

    sha256: str
    offset: int
    length: int


@dataclass(frozen=True)
class LogsRequest:
    """Log bytes of an instance.

    `offset` < 0: the last `-offset` bytes. `wait_s`: how long to wait for new bytes when there
    are none yet, in seconds.
    """

    instance: str
    offset: int
    limit: int = 65536
    wait_s: float = 0.0


@dataclass(frozen=True)
class LogsAnswer:
    """`data` is text (undecodable bytes replaced); `next_offset` continues where it ends."""

    data: str = ""
    next_offset: int = 0
    ended: bool = False  # the instance is gone: nothing more will come
    error: str = ""


@dataclass(frozen=True)
class SecretsRequest:
    """ "What are the secrets of this instance?" Of one that is placed on the worker that asks."""

    instance: str


@dataclass(frozen=True)
class SecretsAnswer:
    """Each secret that the instance's service names, or why they are not given."""

    secrets: tuple[SecretValue, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class LoginRequest:
    """ "Who am I to this image's registry?" Of an image that an instance on the worker has."""

    image: str


@dataclass(frozen=True)
class LoginAnswer:
    """The login for the image's registry; None: there is none."""

    login: SecretValue | None = None
    error: str = ""


# --- root → cluster orchestrator -----------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a cluster or a node was found to be worth for an instance, and why."""

    candidate: str  # cluster or worker name
    fits: bool
    score: float = 0.0
    reasons: tuple[str, ...] = ()  # what excluded it, or what made its score


@dataclass(frozen=True)
class Offer:
    """ "Will you run this?" Idempotent for (service, number, epoch)."""

    service: ServiceSpec
    number: int
    epoch: int
    deadline: float  # seconds since the epoch; an answer after it may be withdrawn
    worker: str = ""  # this one or none; empty: whichever the cluster finds best


@dataclass(frozen=True)
class OfferAnswer:
    """Accepted: resources are reserved on `worker`, durably. Refused: `verdicts` say why."""

    accepted: bool
    worker: str = ""
    verdicts: tuple[Verdict, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Share:
    """What the root wants of one service in one cluster: exactly these instances.

    `instances` maps instance number → epoch; `service` None means the service is gone. The
    highest `revision` wins; instances that are not listed are stopped and forgotten.
    """

    job_name: str
    revision: int
    service: ServiceSpec | None
    instances: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Done (and durable), or why not."""

    ok: bool
    error: str = ""


@dataclass(frozen=True)
class Enrolment:
    """A worker's bus credential: the cluster gets the hash, the worker the secret."""

    worker: str
    bcrypt_hash: str


@dataclass(frozen=True)
class WorkerChange:
    """Cordon, uncordon, drain or remove a worker; `cordoned` None leaves that as it is.

    `drain`: it is cordoned, and its instances are placed elsewhere or wait for a place; it is
    there to stop those it has. `remove`: it is cut off at once.
    """

    worker: str
    cordoned: bool | None = None
    remove: bool = False
    drain: bool = False


@dataclass(frozen=True)
class Settings:
    """What the operator sets for a cluster; None leaves a field as it is."""

    policy: str | None = None


@dataclass(frozen=True)
class SecretsChange:
    """Secrets that services in this cluster need, and names of some that are no more.

    One that is older than what is there changes nothing.
    """

    put: tuple[SecretValue, ...] = ()
    forget: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upload:
    """A piece of an artifact on its way into the cluster's object store.

    Travels as the header `Oakctl-Upload` (JSON); the body is the bytes at `offset`. An empty
    body with `offset` 0 asks how much is there already.
    """

    sha256: str
    size: int  # bytes of the whole artifact
    offset: int


@dataclass(frozen=True)
class UploadAnswer:
    """`next_offset` is where to go on (`size` or more: complete and verified)."""

    next_offset: int
    error: str = ""


# --- cluster orchestrator → root -----------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """The largest free share of any one node that has this architecture (and accelerator)."""

    architecture: str
    free: Resources


@dataclass(frozen=True)
class Aggregate:
    """A cluster in sums: its machines are not shared (Oakestra, ATC'23: ⟨Σ, µ, σ⟩)."""

    cluster: str
    sent_at: float
    policy: str
    workers: int  # alive and not cordoned
    capacity: Resources
    free: Resources
    largest_free: tuple[Slot, ...] = ()  # per architecture, and per architecture with GPU / TPU
    runtimes: tuple[str, ...] = ()
    cpu_percent_mean: float = 0.0
    cpu_percent_stddev: float = 0.0
    memory_percent_mean: float = 0.0
    memory_percent_stddev: float = 0.0
    location: Location | None = None
    area_km: float = 0.0  # radius around `location` that holds all workers
    worker_names: tuple[str, ...] = ()  # names only: `direct` constraints name them


@dataclass(frozen=True)
class InstancePlace:
    """Where an instance is and how it does, as its cluster knows it."""

    observed: ObservedInstance
    worker: str


@dataclass(frozen=True)
class WorkerSummary:
    """One worker, for the operator's eyes; the root does not schedule on it."""

    name: str
    status: str  # ready, suspect, dead, never-seen
    cordoned: bool
    facts: NodeFacts | None
    usage: Usage
    reserved: Resources
    last_heartbeat: float  # seconds since the epoch; 0: never
    subnet: str = ""
    holds: int = -1  # instances it has by its own word, also unwanted ones; -1: it gave none
    is_current: bool = True  # the desired document in force is the one it goes by


@dataclass(frozen=True)
class ProcessUse:
    """Memory and CPU of one of our own processes on the cluster's host."""

    rss_mb: float = 0.0  # MiB
    cpu_percent: float = 0.0  # of one core


@dataclass(frozen=True)
class ScaleWish:
    """A cluster finds that a service should have another number of instances.

    `at` names it: the root follows each once, and only while the cluster has `have` of them.
    """

    job_name: str
    have: int
    wanted: int
    at: float  # seconds since the epoch, by the cluster's clock
    reason: str


@dataclass(frozen=True)
class ClusterState:
    """All a root needs to catch up: the answer to `ctl.state`, and pushed on change.

    `seq` only ever grows while the orchestrator process lives; `session` is new with each of
    its starts. A root that sees a gap asks again.
    """

    cluster: str
    session: str
    seq: int
    sent_at: float
    aggregate: Aggregate
    instances: tuple[InstancePlace, ...] = ()
    workers: tuple[WorkerSummary, ...] = ()
    shares: dict[str, int] = field(default_factory=dict)  # job name → revision in force
    tables: tuple[ServiceTable, ...] = ()
    processes: dict[str, ProcessUse] = field(default_factory=dict)  # "bus", "orchestrator"
    release: str = ""  # the version of the node archive that the orchestrator runs from
    secrets: dict[str, int] = field(default_factory=dict)  # name → version of those it has
    roots: tuple[RootSummary, ...] = ()  # granted ones; told to the owner's root alone
    tokens: tuple[TokenSummary, ...] = ()  # as `roots`
    peers: tuple[PeerSummary, ...] | None = None  # as `roots`; None: it links with nobody
    wishes: tuple[ScaleWish, ...] = ()


@dataclass(frozen=True)
class ClusterStatistics:
    """Statistics of the cluster's instances, every two seconds."""

    cluster: str
    sent_at: float
    instances: tuple[InstanceStatistics, ...] = ()


@dataclass(frozen=True)
class ClusterEvent:
    """Something that happened in a cluster; buffered there until the root has acknowledged it."""

    cluster: str
    event_id: str  # unique: the root stores each once
    at: float
    kind: str  # "instance.running", "worker.dead", ...
    subject: str  # what it is about: instance, worker or service name
    message: str
    reason: str = ""
