"""What CLI, TUI and scripts ask of `/v1`: the bodies of its requests.

Belongs here: the shapes alone. Does not belong here: what the root makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.images import PlatformImage
from oakctl.model.resources import Location, Resources
from oakctl.model.roots import RootRules


@dataclass(frozen=True)
class ApplyRequest:
    """A whole descriptor as text. `artifacts` maps each artifact reference in it to the sha256
    of what was uploaded for it."""

    descriptor: str
    artifacts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostCheckRequest:
    """Look at these hosts; none named: at all. With an orchestrator, also whether the others
    reach the port of a bus on it."""

    hosts: tuple[str, ...] = ()
    accept_new: bool = False
    orchestrator: str = ""


@dataclass(frozen=True)
class SudoPassword:
    """A host's password for sudo, for the root's memory alone; empty: forget it."""

    password: str = field(repr=False)


@dataclass(frozen=True)
class ClusterCreate:
    """Make `host` the orchestrator of a new cluster."""

    name: str
    host: str
    policy: str = "rom"
    location: Location | None = None
    accept_new: bool = False  # trust a host key that is not known yet


@dataclass(frozen=True)
class WorkerAdd:
    """Make `host` a worker of `cluster`. Zero fields of `contribution`: what the machine has."""

    name: str
    cluster: str
    host: str
    contribution: Resources = Resources()
    declared: tuple[str, ...] = ()
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    accept_new: bool = False
    docker: bool = False  # the host shall have Docker: the distribution's, where it has none
    overlay: str = ""  # "kernel", or "host" for none; empty: what the host can
    endpoint: str = ""  # where its tunnel is reached: "203.0.113.5:51820", ":51821"
    relay: bool = False  # also where it is not the orchestrator's host
    allow_reboot: bool = False  # where a change of the host takes effect by that alone


@dataclass(frozen=True)
class GrantRequest:
    """Let another operator's root in to a cluster.

    `address` ("host:port") is how he reaches its host; empty: as we do.
    """

    name: str
    rules: RootRules = RootRules()
    address: str = ""


@dataclass(frozen=True)
class PlaybookRun:
    """Run a playbook on a host; `settings` are the keywords of its function `steps`."""

    name: str
    host: str
    settings: dict[str, str] = field(default_factory=dict)
    accept_new: bool = False
    allow_reboot: bool = False


@dataclass(frozen=True)
class PlanRequest:
    """Look, and change nothing: what would be done to a host to make it one of these.

    At most one of `cluster`, `worker` and `playbook` is given. `address` and what follows say how
    the host is reached where it is not registered, or not like that yet; empty: as it is.
    """

    host: str
    cluster: ClusterCreate | None = None
    worker: WorkerAdd | None = None
    playbook: PlaybookRun | None = None
    address: str = ""
    port: int = 22
    user: str = ""
    identity_file: str = ""
    jump: tuple[str, ...] = ()
    accept_new: bool = False


@dataclass(frozen=True)
class LookRequest:
    """Several of these at a time; a host is asked once, whatever is planned for it."""

    plans: tuple[PlanRequest, ...]


@dataclass(frozen=True)
class ClusterChange:
    """None leaves a field as it is."""

    policy: str | None = None


@dataclass(frozen=True)
class WorkerCordon:
    """Whether the worker takes new instances."""

    cordoned: bool


@dataclass(frozen=True)
class ServiceChange:
    """How many instances are wanted."""

    replicas: int


@dataclass(frozen=True)
class InstanceMove:
    """To which worker: "cluster/worker", or its name where that is unique."""

    to: str


@dataclass(frozen=True)
class ImagePush:
    """An image whose blobs were uploaded (as artifacts), to be known by this name."""

    name: str  # "ar:1"
    images: tuple[PlatformImage, ...]  # one for each platform


@dataclass(frozen=True)
class LayersQuestion:
    """Which of these layers are here already? By the sha256 of the uncompressed tar."""

    diff_ids: tuple[str, ...]


@dataclass(frozen=True)
class ImageSend:
    """Bring a pushed image to a cluster now, ahead of any service."""

    name: str
    cluster: str


@dataclass(frozen=True)
class SecretSet:
    """Give a secret its value. With `registry` it is a login for images of that host."""

    value: str = field(repr=False)  # base 64
    registry: str = ""
    username: str = ""
