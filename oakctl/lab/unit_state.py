"""The state of one unit of the plain supervisor, and what is to be done about it. Pure.

Belongs here: decisions, with the time passed in. Does not belong here: processes (`supervisor`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

BACKOFF_FIRST_S = 0.2
BACKOFF_LONGEST_S = 5.0
BACKOFF_RESET_S = 10.0  # a unit that ran this long is well again


class Phase(str, Enum):
    """The words of the supervisor's protocol."""

    RUNNING = "running"
    STOPPED = "stopped"
    BACKING_OFF = "backing-off"


@dataclass(frozen=True)
class UnitState:
    """What is known of one unit. Times are seconds since the epoch."""

    phase: Phase = Phase.STOPPED
    since: float = 0.0
    pid: int = 0
    restarts: int = 0
    exit_code: int | None = None  # of the last process that ended; negative: by that signal
    delay_s: float = 0.0  # of the wait under way or the last one
    next_start: float = 0.0  # only while backing off


def started(state: UnitState, pid: int, now: float) -> UnitState:
    """A process was started for it."""
    again = state.phase is Phase.BACKING_OFF
    return replace(
        state, phase=Phase.RUNNING, since=now, pid=pid, restarts=state.restarts + int(again)
    )


def ended(state: UnitState, exit_code: int | None, now: float) -> UnitState:
    """Its process is gone without having been asked: start it again after a wait.

    `exit_code` None: it was not our child, so nobody knows.
    """
    healthy = state.phase is Phase.RUNNING and now - state.since >= BACKOFF_RESET_S
    if healthy or not state.delay_s:
        delay = BACKOFF_FIRST_S
    else:
        delay = min(state.delay_s * 2, BACKOFF_LONGEST_S)
    return replace(
        state,
        phase=Phase.BACKING_OFF,
        since=now,
        pid=0,
        exit_code=exit_code,
        delay_s=delay,
        next_start=now + delay,
    )


def stopped(state: UnitState, exit_code: int | None, now: float) -> UnitState:
    """It was asked to stop and did; the next start is a fresh one."""
    return replace(
        state, phase=Phase.STOPPED, since=now, pid=0, exit_code=exit_code, delay_s=0.0, restarts=0
    )


def wait_s(state: UnitState, now: float) -> float:
    """Seconds until the next start; never negative."""
    return max(0.0, state.next_start - now)
