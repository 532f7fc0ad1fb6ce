"""What a plan is: changes, what is left alone and why.

Belongs here: the words of the difference. Does not belong here: finding it (`fleet.planner`),
carrying it out (`fleet.applier`), printing it (`cli`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.errors import ExitCode
from oakctl.fleet.state import Fault, Key
from oakctl.model.views import HostFinding, StepEvent

REGISTER = "register"  # a host gets its name
CREATE = "create"
RESUME = "carry on"  # what an earlier run began
CHANGE = "change"  # it is there, and described differently
UPGRADE = "upgrade"  # it runs from another release than this program's; then what differs, if any
REPAIR = "repair"  # it is as described, and steps of it do not hold on its host
REPLACE = "replace"  # taken away where it is, made where it shall be
REMOVE = "remove"
FORGET = "forget"  # a host loses its name


@dataclass(frozen=True)
class Change:
    """One thing that is not as described. `blocked` says why it cannot be made so."""

    action: str
    kind: str  # host, cluster, worker
    name: str  # "pi-1", "edge", "edge/w1"
    host: str
    differences: tuple[str, ...] = ()  # "policy: rom → spread"
    steps: tuple[str, ...] = ()  # "bus: start: not running"
    blocked: str = ""
    hint: str = ""
    exit_code: int = int(ExitCode.CONFLICT)  # of what is blocked

    @property
    def key(self) -> Key:
        """What it is a change of."""
        return self.kind, self.name


@dataclass(frozen=True)
class Plan:
    """The difference between a file and what is there."""

    changes: tuple[Change, ...] = ()
    extras: tuple[Change, ...] = ()  # there, not in the file, and kept
    faults: tuple[Fault, ...] = ()  # hosts that could not be looked at
    findings: tuple[HostFinding, ...] = ()  # about all hosts, worst first
    unchanged: int = 0  # hosts, clusters and workers that are as described
    restarts: tuple[StepEvent, ...] = ()  # of hosts: planned, or skipped as not agreed to
    left: tuple[Change, ...] = ()  # not as described, and not this command's to change

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done, and everything could be looked at."""
        return not self.changes and not self.faults
