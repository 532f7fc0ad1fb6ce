"""Instances: their states, what is wanted of them and what is seen of them.

Belongs here: the words. Does not belong here: which transition is allowed and when a state is
given up (`orchestration.lifecycle`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from oakctl.model.service import ServiceSpec, instance_name


class InstanceState(str, Enum):
    """The states of an instance; the values are Oakestra's words where it has one."""

    REGISTERED = "REGISTERED"
    REQUESTED = "REQUESTED"
    CLUSTER_SCHEDULED = "CLUSTER_SCHEDULED"
    NODE_SCHEDULED = "NODE_SCHEDULED"
    CREATING = "CREATING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    LOST = "LOST"
    UNDEPLOYED = "UNDEPLOYED"


@dataclass(frozen=True)
class DesiredInstance:
    """One instance that a worker shall run. The highest epoch of an instance wins everywhere."""

    service: ServiceSpec
    number: int
    epoch: int
    address: str  # its own overlay address, inside the node's subnet
    reach: dict[str, str] = field(default_factory=dict)  # variable name → overlay address

    @property
    def name(self) -> str:
        """`<job name>.instance.<number>`."""
        return instance_name(self.service.job_name, self.number)


@dataclass(frozen=True)
class ObservedInstance:
    """What a worker sees of one instance. Times are seconds since the epoch."""

    job_name: str
    number: int
    epoch: int
    state: InstanceState
    since: float
    ready: bool = False
    pid: int = 0
    exit_code: int | None = None
    restarts: int = 0
    crash_looping: bool = False
    reason: str = ""  # in words, on failure or while waiting
    progress: float | None = None  # 0 to 1 while CREATING
    signs: int = 0  # grows while CREATING goes on, also where its progress does not show that
    address: str = ""  # overlay address
    bind: str = ""  # the address it listens on, as the node's overlay driver gives it
    limits: str = ""  # what is enforced: "cpu 0.5 memory 64 MiB pids 128 (cgroup v2)" or why not
    blocked: bool = False  # it does not even start here; on another worker it might
    unfit: str = ""  # the node's platform, where its registry has no image for that

    @property
    def name(self) -> str:
        """`<job name>.instance.<number>`."""
        return instance_name(self.job_name, self.number)


@dataclass(frozen=True)
class InstanceStatistics:
    """Consumption of one instance, and what its metrics endpoint says."""

    job_name: str
    number: int
    at: float
    cpu_percent: float = 0.0  # of one core
    memory_mb: float = 0.0  # MiB resident
    metrics: dict[str, float] = field(default_factory=dict)  # metric name → value
