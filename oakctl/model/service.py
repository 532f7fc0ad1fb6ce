"""A service as every plane understands it, after its descriptor was checked and converted.

Belongs here: the specification of a service and its parts, and the forms of names. Does not
belong here: the descriptor's own shape, its defaults and its errors (`oakctl.sla`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oakctl.model.images import PlatformImage
from oakctl.model.resources import Location, Resources
from oakctl.model.secrets import SecretUse

AUTOMATIC = "auto"
BY_CLIENT = "client"


@dataclass(frozen=True)
class Port:
    """A port an instance listens on, and the node's port that leads to it (0: none)."""

    container: int
    host: int = 0
    protocol: str = "tcp"  # tcp, udp


@dataclass(frozen=True)
class Volume:
    """Storage inside a container: a volume with a name on its node, or a path of the host."""

    source: str  # a name; or a path, which begins with "/"
    target: str  # absolute, inside the container
    read_only: bool = False

    @property
    def of_host(self) -> bool:
        """Whether it is a path of the host, which that host's operator has to allow."""
        return self.source.startswith("/")


@dataclass(frozen=True)
class AddedFiles:
    """Files that are put into a container before it starts."""

    artifact: str  # sha256 of a tar.gz
    target: str  # the folder inside the container, absolute


@dataclass(frozen=True)
class Constraint:
    """A condition of the SLA on where a service may run (Oakestra SLA v2, `constraints`).

    `kind` is latency, geo, direct, clusters or addons; the fields that kind uses are filled.
    """

    kind: str
    threshold: float = 0.0  # latency: milliseconds; geo: kilometres
    area: str = ""  # latency
    location: Location | None = None  # geo
    clusters: tuple[str, ...] = ()  # direct, clusters: any of
    nodes: tuple[str, ...] = ()  # direct: any of
    needs: tuple[str, ...] = ()  # addons
    rigidness: float = 1.0  # share of recent checks that must hold, 0 to 1
    convergence_time_s: int = 300  # seconds in which misses do not count


@dataclass(frozen=True)
class ServiceAddresses:
    """Overlay addresses of a service, one per balancing policy; empty: not given."""

    rr_ip: str = ""  # balanced over the ready instances
    closest_ip: str = ""  # the nearest ready instance
    least_ip: str = ""  # balanced by what they have to spare; `AUTOMATIC`: the root gives one

    @property
    def given(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(each for each in (self.rr_ip, self.closest_ip, self.least_ip) if each)


@dataclass(frozen=True)
class Connectivity:
    """A service that instances of this one talk to; `target` is a full job name.

    `addresses` are the target's: the root fills them in, so that an instance has them from its
    start, wherever the target runs and whether it does already.
    """

    target: str
    constraints: tuple[Constraint, ...] = ()
    addresses: ServiceAddresses = ServiceAddresses()


@dataclass(frozen=True)
class Probe:
    """How to find out whether an instance is ready: a TCP connect, an HTTP GET or a command."""

    kind: str  # tcp, http, command
    port: int = 0
    path: str = "/"
    command: tuple[str, ...] = ()
    interval_s: float = 1.0
    timeout_s: float = 2.0


@dataclass(frozen=True)
class MetricsEndpoint:
    """Where an instance serves Prometheus text, on its own address."""

    port: int
    path: str = "/metrics"


@dataclass(frozen=True)
class RestartPolicy:
    """What happens when an instance ends by itself: `always`, `on-failure` or `never`.

    Waits double from `backoff_s` to `backoff_max_s` (seconds) and start over after
    `reset_after_s` seconds of running.
    """

    when: str = "always"
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    reset_after_s: float = 60.0


@dataclass(frozen=True)
class Pace:
    """How a number of instances changes in one direction. Times in seconds."""

    stabilisation_s: float  # that the wish for it has to last
    step: int  # instances at once
    cooldown_s: float  # since the last change in either direction


UP = Pace(5.0, 1, 15.0)
DOWN = Pace(60.0, 1, 30.0)


@dataclass(frozen=True)
class Autoscale:
    """Bounds of the number of instances, what each is to hold, and how fast it changes.

    `targets`: metric as named in the descriptor → its mean over the instances. `cpu` is percent
    of the vcpus that an instance asks for (of one core, where it asks for none).
    """

    minimum: int
    maximum: int
    targets: dict[str, float] = field(default_factory=dict)
    up: Pace = UP
    down: Pace = DOWN


@dataclass(frozen=True)
class Code:
    """What runs on one architecture, of a service that has code for several."""

    architecture: str  # as `uname -m` calls it
    code: str
    images: tuple[PlatformImage, ...] = ()  # as those of `ServiceSpec`


@dataclass(frozen=True)
class ServiceSpec:
    """Everything a cluster and a worker need to know of a service, and no more."""

    job_name: str  # application.namespace.service.namespace
    application: str  # application.namespace
    virtualization: str  # container, process, ...
    code: str  # image; for `process` the artifact's sha256
    cmd: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()  # "KEY=value"
    requests: Resources = Resources()
    architectures: tuple[str, ...] = ()  # empty: any
    ports: tuple[Port, ...] = ()  # published ports of the descriptor
    listen: tuple[Port, ...] = ()  # further ports, reached through service addresses only
    addresses: ServiceAddresses = ServiceAddresses()
    constraints: tuple[Constraint, ...] = ()
    connectivity: tuple[Connectivity, ...] = ()
    one_shot: bool = False
    privileged: bool = False
    replicas: int = 1  # instances wanted when the application is applied
    ready: Probe | None = None
    metrics: MetricsEndpoint | None = None
    pull: str = "missing"  # never, missing, always
    restart: RestartPolicy = RestartPolicy()
    autoscale: Autoscale | None = None
    volumes: tuple[Volume, ...] = ()
    added_files: tuple[AddedFiles, ...] = ()
    capabilities: tuple[str, ...] = ()  # of a container, without CAP_: "NET_ADMIN"
    devices: tuple[str, ...] = ()  # of the host, in a container: "/dev/ttyUSB0"
    read_only: bool = False  # a container's root file system
    grace_s: float = 5.0  # seconds between the request to stop and the kill
    not_enforced: tuple[str, ...] = ()  # fields accepted but not enforced, in words
    labels: dict[str, str] = field(default_factory=dict)
    images: tuple[PlatformImage, ...] = ()  # of a pushed image; empty: `code` is in a registry
    secrets: tuple[SecretUse, ...] = ()
    codes: tuple[Code, ...] = ()  # per architecture; given, it is these and not `code`
    affinity: str = ""  # `BY_CLIENT`: a client stays with its instance while that lives
    weights: dict[str, int] = field(default_factory=dict)  # worker or cluster → share, else 1

    @property
    def name(self) -> str:
        """The service's own name, without application and namespaces."""
        return self.job_name.split(".")[2]

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The sha256 of every artifact that an instance needs: its program, or added files."""
        added = tuple(files.artifact for files in self.added_files)
        if self.virtualization != "process":
            return added
        return (*(one.code for one in self.every_code()), *added)

    @property
    def blobs(self) -> tuple[str, ...]:
        """The sha256 of all that is carried to a node: artifacts, and what images consist of."""
        parts = (b for one in self.every_code() for image in one.images for b in image.blobs)
        return tuple(dict.fromkeys((*self.artifacts, *parts)))

    @property
    def pulled(self) -> tuple[str, ...]:
        """The images that come from registries."""
        if self.virtualization != "container":
            return ()
        return tuple(one.code for one in self.every_code() if not one.images)

    def every_code(self) -> tuple[Code, ...]:
        """All that may run; with one code for every architecture, that, under no name."""
        return self.codes or (Code("", self.code, self.images),)

    def on(self, architecture: str) -> ServiceSpec:
        """The service as a worker of this architecture runs it: with one code.

        Where it has none for that, it stays as it is: the scheduler leaves such a worker out.
        """
        for one in self.codes:
            if one.architecture == architecture:
                return replace(self, code=one.code, images=one.images, codes=())
        return self

    def weight(self, cluster: str, worker: str) -> int:
        """The share of new flows that an instance there gets, beside others'."""
        return self.weights.get(worker, self.weights.get(cluster, 1))

    def all_ports(self) -> tuple[Port, ...]:
        """Every port that a service address of this service leads to."""
        return self.ports + self.listen


def job_name(application: str, app_namespace: str, service: str, namespace: str) -> str:
    """Oakestra's name of a service: `application.namespace.service.namespace`."""
    return f"{application}.{app_namespace}.{service}.{namespace}"


def instance_name(job: str, number: int) -> str:
    """Oakestra's name of an instance: `<job name>.instance.<number>`."""
    return f"{job}.instance.{number}"


def split_instance_name(name: str) -> tuple[str, int]:
    """(job name, number) of an instance name; raises ValueError when it is none."""
    job, marker, number = name.rpartition(".instance.")
    if not marker or not number.isdigit() or job.count(".") != 3:
        raise ValueError(f"{name!r} is not an instance name (application.ns.service.ns.instance.N)")
    return job, int(number)
