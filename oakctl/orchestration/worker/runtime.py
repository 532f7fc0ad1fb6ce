"""What `instances` needs of a runtime: something that starts, watches and ends instances.

Belongs here: the protocol, and what stands in where there is no runtime. Does not belong here:
runtimes (`processes`, `docker`). No method waits: what takes time goes on by itself, and is seen
in a later `look`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.attempt import Attempt
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.orchestration.worker.record import Record

PROCESS = "process"
CONTAINER = "container"


@dataclass(frozen=True)
class Launch:
    """A start that is ready to be made."""

    desired: DesiredInstance
    attempt: int
    order: dict[str, Any]
    limits: str
    bind: str


class Runtime(Protocol):
    """One kind of instances below one prefix."""

    def prepare(self, desired: DesiredInstance, attempt: int) -> Launch:
        """Everything for a start but the start; raises CannotStart or OSError."""

    def start(self, ready: Launch) -> None:
        """Begin it; raises CannotStart or OSError where that shows at once."""

    def look(self, known: Record) -> Attempt:
        """What became of a start; the agent that made it need not be this one."""

    def signal(self, known: Record, number: signal.Signals) -> int:
        """Send a signal to the instance; returns to how many processes, as far as is known."""

    def ran_out_of_memory(self, known: Record) -> bool:
        """Whether the kernel killed in it for want of memory."""

    def clear(self, name: str) -> bool:
        """End whatever lives of an instance; whether nothing does any more."""

    def sweep(self, running: Mapping[str, Record]) -> None:
        """Tidy up behind all that is not `running`."""

    def members(self, known: Record, everyone: list[procfs.ProcessStat]) -> set[int]:
        """Process ids of the instance."""

    def address(self, known: Record) -> str:
        """Where its ports are reached from here."""


class NoRuntime:
    """Stands in for a runtime that this node does not have; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def prepare(self, desired: DesiredInstance, attempt: int) -> Launch:
        """Raises CannotStart."""
        raise CannotStart(self.reason)

    def start(self, ready: Launch) -> None:
        """Raises CannotStart."""
        raise CannotStart(self.reason)

    def look(self, known: Record) -> Attempt:
        """Nobody can say what became of it."""
        return Attempt(held=True)

    def signal(self, known: Record, number: signal.Signals) -> int:
        """There is nobody to be told."""
        return 0

    def ran_out_of_memory(self, known: Record) -> bool:
        """Not that anyone knew."""
        return False

    def clear(self, name: str) -> bool:
        """Nothing is here."""
        return True

    def sweep(self, running: Mapping[str, Record]) -> None:
        """Nothing is here."""

    def members(self, known: Record, everyone: list[procfs.ProcessStat]) -> set[int]:
        """None."""
        return set()

    def address(self, known: Record) -> str:
        """What was noted at its start."""
        return known.bind


class Runtimes:
    """The runtimes of this node, by virtualization; one may come and go while the agent runs."""

    def __init__(self, by_kind: dict[str, Runtime]) -> None:
        self.by_kind = by_kind

    def of(self, desired: DesiredInstance) -> Runtime:
        """The one for this instance."""
        kind = desired.service.virtualization
        return self.by_kind.get(kind) or NoRuntime(f"virtualization {kind} is not known here")

    def clear(self, name: str) -> bool:
        """End whatever lives of an instance in any of them; whether nothing does any more."""
        clear = [runtime.clear(name) for runtime in self.by_kind.values()]  # of each, in any case
        return all(clear)

    def sweep(self, running: Mapping[str, Record]) -> None:
        """Tidy up in each behind all that is not `running`."""
        for kind, runtime in self.by_kind.items():
            of_kind = {n: r for n, r in running.items() if r.desired.service.virtualization == kind}
            runtime.sweep(of_kind)
