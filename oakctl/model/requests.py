"""What CLI, TUI and scripts ask of `/v1`: the bodies of its requests.

Belongs here: the shapes alone. Does not belong here: what the root makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.resources import Location, Resources


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
