"""What the agent remembers of one instance, and how that changes. Pure.

Belongs here: the record (it is stored beside the instance) and the steps of its life. Does not
belong here: when a step is due (`reconcile`), or taking it (`instances`). Times are seconds
since the epoch and are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from oakctl.model.instance import DesiredInstance, InstanceState, ObservedInstance
from oakctl.orchestration import lifecycle

OUT_OF_MEMORY = "killed by the kernel: out of memory"


class Phase(str, Enum):
    """Where an instance is, for the agent."""

    WAITING = "waiting"  # for its artifact, or for the end of a back-off
    RUNNING = "running"  # a start was begun, and no end is known
    ENDED = "ended"  # nothing runs and nothing will be started


@dataclass(frozen=True)
class Record:
    """Everything durable about one instance on this node."""

    desired: DesiredInstance
    since: float  # when it came into its present state
    phase: Phase = Phase.WAITING
    attempt: int = 0  # number of the start that is under way or was the last
    started_at: float = 0.0
    exit_code: int | None = None
    failures: int = 0  # in a row
    restarts: int = 0
    retry_at: float = 0.0  # while WAITING: no start before this
    stopping_since: float = 0.0  # 0: nobody asked it to end
    kill_at: float = 0.0  # when the grace period is over
    reason: str = ""
    limits: str = ""
    bind: str = ""
    blocked: bool = False  # the last start was not even possible here

    @property
    def name(self) -> str:
        """`<job name>.instance.<number>`."""
        return self.desired.name

    @property
    def epoch(self) -> int:
        """The epoch of the instance that this is."""
        return self.desired.epoch

    @property
    def gone(self) -> bool:
        """It was asked to end, and has."""
        return self.phase is Phase.ENDED and self.stopping_since > 0


def new(desired: DesiredInstance, now: float, attempt: int = 0) -> Record:
    """An instance that was just assigned; `attempt` is the last number used in its directory."""
    return Record(desired=desired, since=now, attempt=attempt)


def starting(
    record: Record, desired: DesiredInstance, now: float, *, limits: str, bind: str
) -> Record:
    """Before the start: from here on a process may exist. `desired` is the newest word of it."""
    again = record.started_at > 0
    return replace(
        record,
        desired=desired,
        phase=Phase.RUNNING,
        since=now,
        attempt=record.attempt + 1,
        started_at=now,
        restarts=record.restarts + (1 if again else 0),
        exit_code=None,
        reason=record.reason if record.blocked else "",  # until it runs, that is how it is
        limits=limits,
        bind=bind,
    )


def never_ran(record: Record, now: float) -> Record:
    """The start was cut off before there was a process: as if it had not been tried."""
    if record.stopping_since:
        return replace(record, phase=Phase.ENDED, since=now)
    return replace(
        record,
        phase=Phase.WAITING,
        since=now,
        retry_at=now,
        started_at=record.started_at if record.restarts else 0.0,
        restarts=max(0, record.restarts - 1),
    )


def could_not_start(record: Record, now: float, reason: str) -> Record:
    """Something here was in the way (a full disk, a bad artifact): always tried again."""
    if record.stopping_since:
        return replace(record, phase=Phase.ENDED, since=now, reason=reason)
    failures = record.failures + 1
    delay = lifecycle.restart_delay(record.desired.service.restart, failures)
    return replace(
        record,
        phase=Phase.WAITING,
        since=now,
        failures=failures,
        retry_at=now + delay,
        reason=reason,
        exit_code=None,
        blocked=True,
    )


def ended(record: Record, now: float, exit_code: int | None, reason: str) -> Record:
    """The process ended; what comes next is up to the restart policy."""
    service, record = record.desired.service, replace(record, blocked=False)
    if record.stopping_since:
        return replace(record, phase=Phase.ENDED, since=now, exit_code=exit_code)
    if not lifecycle.should_restart(service.restart, exit_code, one_shot=service.one_shot):
        return replace(record, phase=Phase.ENDED, since=now, exit_code=exit_code, reason=reason)
    failures = lifecycle.failures_after(service.restart, record.failures, now - record.started_at)
    delay = lifecycle.restart_delay(service.restart, failures)
    return replace(
        record,
        phase=Phase.WAITING,
        since=now,
        exit_code=exit_code,
        failures=failures,
        retry_at=now + delay,
        reason=reason,
    )


def stopping(record: Record, now: float) -> Record:
    """It shall end: at once where nothing runs, after its grace period at the latest."""
    grace = record.desired.service.grace_s
    asked = replace(record, since=now, stopping_since=now, kill_at=now + grace)
    return asked if record.phase is Phase.RUNNING else replace(asked, phase=Phase.ENDED)


def state_of(record: Record, *, has_process: bool) -> InstanceState:
    """The state that the worker reports. `has_process`: its program was really started."""
    if record.stopping_since:
        return InstanceState.UNDEPLOYED if record.gone else InstanceState.STOPPING
    if record.phase is Phase.RUNNING:
        if has_process:
            return InstanceState.RUNNING
        return InstanceState.FAILED if record.blocked else InstanceState.CREATING
    if record.phase is Phase.ENDED:
        return InstanceState.COMPLETED if record.exit_code == 0 else InstanceState.FAILED
    # Waiting for a restart is a failure that shows; waiting for the first start is not.
    return InstanceState.FAILED if record.failures else InstanceState.CREATING


def observed(
    record: Record,
    *,
    pid: int = 0,
    ready: bool = False,
    progress: float | None,
    waiting_for: str,
    signs: int = 0,
    unfit: str = "",
) -> ObservedInstance:
    """The report's line about this instance; `waiting_for` is why it does not start yet."""
    state = state_of(record, has_process=pid > 0)
    creating = state is InstanceState.CREATING
    blocked = record.blocked and pid == 0
    reason = record.reason if blocked or not record.blocked else ""
    return ObservedInstance(
        job_name=record.desired.service.job_name,
        number=record.desired.number,
        epoch=record.epoch,
        state=state,
        since=record.since,
        ready=ready and state is InstanceState.RUNNING,
        pid=pid,
        exit_code=record.exit_code,
        restarts=record.restarts,
        crash_looping=lifecycle.is_crash_looping(record.failures),
        reason=reason or waiting_for,
        progress=progress if creating else None,
        signs=signs if creating else 0,
        address=record.desired.address,
        bind=record.bind,
        limits=record.limits,
        blocked=blocked,
        unfit=unfit,
    )


def exit_in_words(exit_code: int | None, *, out_of_memory: bool, limit: str = "") -> str:
    """Why a process ended; shells give a signal as 128 plus its number."""
    if out_of_memory:
        return f"{OUT_OF_MEMORY} ({limit})" if limit else OUT_OF_MEMORY
    if exit_code is None:
        return "ended, and its exit code is not known: its shim was killed or the node restarted"
    if exit_code == 0:
        return "ended with exit code 0"
    if 128 < exit_code < 128 + 65:
        return f"killed by signal {exit_code - 128}"
    return f"ended with exit code {exit_code}"


def settled(record: Record, now: float) -> Record:
    """A run that has lasted long enough is no crash loop any more."""
    calm = record.desired.service.restart.reset_after_s
    if record.phase is Phase.RUNNING and record.failures and now - record.started_at >= calm:
        return replace(record, failures=0)
    return record
