"""What is wanted of a fleet, and what is seen of it.

Belongs here: the two sides of the difference. Does not belong here: the difference
(`fleet.planner`), reading a file (`fleet.reading`), asking (`fleet.looking`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import (
    ClusterView,
    HostFinding,
    HostMachine,
    HostView,
    StepEvent,
    WorkerView,
)

Key = tuple[str, str]  # ("host", "pi-1"), ("cluster", "edge"), ("worker", "edge/w1")


@dataclass(frozen=True)
class Wanted:
    """What a file asks for; every host that is named is among `hosts`."""

    hosts: tuple[HostView, ...] = ()
    clusters: tuple[ClusterCreate, ...] = ()
    workers: tuple[WorkerAdd, ...] = ()
    python_archives: tuple[str, ...] = ()  # files, absolute: for hosts whose own Python is too old


@dataclass(frozen=True)
class Fault:
    """Why a host could not be looked at, in the words of the error."""

    host: str
    message: str
    hint: str = ""
    exit_code: int = 1
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """What a host said to the steps of a role: those that are missing, or why it said nothing."""

    missing: tuple[StepEvent, ...] = ()
    fault: Fault | None = None
    restarts: tuple[StepEvent, ...] = ()  # of the host, planned or not agreed to


@dataclass(frozen=True)
class Seen:
    """What the root knows, and what the hosts said."""

    hosts: tuple[HostView, ...] = ()
    clusters: tuple[ClusterView, ...] = ()
    workers: tuple[WorkerView, ...] = ()
    checks: Mapping[Key, Checked] = field(default_factory=dict)
    findings: tuple[HostFinding, ...] = ()
    release: str = ""  # the node archive that hosts would get
    asks_password: tuple[str, ...] = ()  # hosts whose sudo wants one that was not given
    machines: tuple[HostMachine, ...] = ()  # what the hosts are that answered


def worker_name(worker: WorkerAdd | WorkerView) -> str:
    """`edge/w1`."""
    return f"{worker.cluster}/{worker.name}"
