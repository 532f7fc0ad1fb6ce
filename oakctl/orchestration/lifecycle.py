"""The life of an instance: which state follows which, and when one is given up. Pure.

Belongs here: transitions, deadlines, restart back-off, crash loops, epochs. Times are passed in,
in seconds. Does not belong here: acting on any of it (`cluster`, `worker`, `root`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from oakctl.model.config import Timers
from oakctl.model.instance import InstanceState as S
from oakctl.model.service import RestartPolicy

CRASH_LOOP_AFTER = 5  # failures in a row
STOP_MARGIN_S = 10.0  # after the grace period, before an instance that stops is given up

_ENDS = frozenset({S.COMPLETED, S.FAILED, S.LOST, S.UNDEPLOYED})

# Within one epoch. Reports are sent whole and may leave out what happened in between, so a
# state may follow from any that lies before it in the worker's hands. A successor of a lost
# instance has a higher epoch and begins anew.
TRANSITIONS: Mapping[S, frozenset[S]] = MappingProxyType(
    {
        S.REGISTERED: frozenset({S.REQUESTED, S.UNDEPLOYED}),
        S.REQUESTED: frozenset({S.CLUSTER_SCHEDULED, S.NODE_SCHEDULED, S.UNDEPLOYED}),
        S.CLUSTER_SCHEDULED: frozenset(
            {S.REQUESTED, S.NODE_SCHEDULED, S.STOPPING, S.LOST, S.UNDEPLOYED}
        ),
        S.NODE_SCHEDULED: frozenset({S.REQUESTED, S.CREATING, S.RUNNING, S.STOPPING}) | _ENDS,
        S.CREATING: frozenset({S.RUNNING, S.STOPPING}) | _ENDS,
        S.RUNNING: frozenset({S.CREATING, S.STOPPING}) | _ENDS,
        S.STOPPING: frozenset({S.LOST, S.UNDEPLOYED}),
        S.COMPLETED: frozenset({S.STOPPING, S.UNDEPLOYED}),
        S.FAILED: frozenset({S.CREATING, S.RUNNING, S.COMPLETED, S.STOPPING, S.LOST, S.UNDEPLOYED}),
        # Its worker came back before a successor was placed.
        S.LOST: frozenset(
            {S.REQUESTED, S.CREATING, S.RUNNING, S.STOPPING, S.COMPLETED, S.FAILED, S.UNDEPLOYED}
        ),
        S.UNDEPLOYED: frozenset(),
    }
)


def allowed(old: S, new: S) -> bool:
    """Whether `new` may follow `old` within one epoch; a state may be said again."""
    return new == old or new in TRANSITIONS[old]


def deadline_of(
    state: S,
    since: float,
    timers: Timers,
    last_progress: float | None,
    *,
    grace_s: float = 0.0,
    convergence_s: float | None = None,
) -> float | None:
    """When an instance that is in `state` since `since` is given up; None: never.

    `last_progress` is when CREATING last said that it goes on, `grace_s` the service's grace
    period for STOPPING, `convergence_s` how long REQUESTED may take before it is shown as
    pending (None: not limited).
    """
    if state in (S.CLUSTER_SCHEDULED, S.NODE_SCHEDULED):
        return since + timers.first_sign_s
    if state == S.CREATING:
        return max(since, since if last_progress is None else last_progress) + timers.progress_s
    if state == S.STOPPING:
        return since + grace_s + STOP_MARGIN_S
    if state == S.REQUESTED and convergence_s is not None:
        return since + convergence_s
    return None


def overdue(
    state: S,
    since: float,
    timers: Timers,
    last_progress: float | None,
    now: float,
    *,
    grace_s: float = 0.0,
    convergence_s: float | None = None,
) -> bool:
    """Whether the deadline of `state` is over at `now`."""
    deadline = deadline_of(
        state, since, timers, last_progress, grace_s=grace_s, convergence_s=convergence_s
    )
    return deadline is not None and now >= deadline


def should_restart(policy: RestartPolicy, exit_code: int | None, *, one_shot: bool) -> bool:
    """Whether an instance that ended by itself is started again; no exit code is a failure."""
    ended_well = exit_code == 0
    if policy.when == "never" or (one_shot and ended_well):
        return False
    return policy.when == "always" or not ended_well


def restart_delay(policy: RestartPolicy, failures: int) -> float:
    """Seconds to wait before the restart after `failures` (1 or more) failures in a row."""
    if failures <= 0:
        return 0.0
    doublings = min(failures - 1, 60)  # beyond that any delay is at its maximum
    return float(min(policy.backoff_max_s, policy.backoff_s * 2**doublings))


def failures_after(policy: RestartPolicy, failures: int, ran_for_s: float) -> int:
    """Failures in a row, with the one that ended a run of `ran_for_s` seconds."""
    return 1 if ran_for_s >= policy.reset_after_s else failures + 1


def is_crash_looping(failures: int) -> bool:
    """Whether so many failures in a row are shown as a crash loop."""
    return failures >= CRASH_LOOP_AFTER


def newer(a_epoch: int, a_seq: int, b_epoch: int, b_seq: int) -> bool:
    """Whether what (a_epoch, a_seq) says overrides (b_epoch, b_seq).

    The higher epoch wins everywhere; within one epoch the higher sequence number.
    """
    return (a_epoch, a_seq) > (b_epoch, b_seq)
