"""What time alone brings about: instances given up and placed anew, others placed at last. Pure.

Belongs here: dead workers' instances, deadlines of states, places tried again, records that have
served their time. Does not belong here: who is dead (`liveness`), how long a state may last
(`lifecycle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from oakctl.model.config import Timers
from oakctl.model.instance import InstanceState
from oakctl.orchestration import lifecycle
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.liveness import DEAD, READY, Presences, status_of
from oakctl.orchestration.cluster.placement import Fleet, candidates, place, why_not
from oakctl.orchestration.cluster.state import InstanceRecord, Key, State, drop

BACKOFF_S = 1.0
BACKOFF_MAX_S = 30.0  # between tries to find a place
SLOWEST_REPLACEMENT_S = 300.0  # added to the deadline of one that never gets on, anywhere
QUIET_S = 3.0  # how long a worker says nothing of an instance that it knows is not wanted
TOMBSTONE_S = 3600.0  # how long a withdrawn service's revision is remembered

_ENDED = frozenset({InstanceState.COMPLETED, InstanceState.LOST})


@dataclass(frozen=True)
class Watch:
    """How long one instance has been where it is, by a clock that never jumps.

    Kept in memory: after a start of the orchestrator every deadline begins anew.
    """

    marker: tuple[int, InstanceState, float | None, int]  # epoch, state, progress, signs of life
    since: float
    attempts: int = 0  # placements or searches in a row that came to nothing
    retry_at: float = 0.0
    capacity: int = 0  # of the workers when the last search ended


Watches = Mapping[Key, Watch]


def watch(state: State, before: Watches, now: Now) -> dict[Key, Watch]:
    """The watches after a look at all instances."""
    found = {}
    for key, record in state.instances.items():
        seen = record.observed
        told = (seen.progress, seen.signs) if seen else (None, 0)
        marker = (record.epoch, record.state, *told)
        known = before.get(key)
        if known is None:
            known = Watch(marker, now.mono)
        elif known.marker != marker:
            known = replace(known, marker=marker, since=now.mono)
        if record.state == InstanceState.RUNNING and known.attempts:
            known = replace(known, attempts=0)
        found[key] = known
    return found


def sweep(
    state: State, fleet: Fleet, watches: Watches, timers: Timers, now: Now
) -> tuple[State, dict[Key, Watch]]:
    """Everything that is due at `now`; the same state when nothing is."""
    after = watch(state, watches, now)
    capacity = _capacity(state, fleet) if _anything_waits(state, fleet.presences) else 0
    for key, record in state.instances.items():
        if record.stopping:
            state = _stopping(state, fleet.presences, record, now)
        elif not record.worker or _is_lost(state, fleet.presences, record):
            state, after[key] = _search(state, fleet, record, after[key], capacity, now)
        elif _is_overdue(state, fleet.presences, record, after[key], timers, now):
            state, after[key] = _give_up(state, fleet, record, after[key], now)
    return _bury(state, now), after


def delay(attempts: int, longest: float = BACKOFF_MAX_S) -> float:
    """Seconds to wait after so many attempts in a row."""
    return min(longest, BACKOFF_S * 2.0 ** min(attempts - 1, 20)) if attempts > 0 else 0.0


def _stopping(state: State, presences: Presences, record: InstanceRecord, now: Now) -> State:
    status = status_of(state, presences, record.worker)
    if status == DEAD or record.worker not in state.workers:
        # Nobody is there to confirm it; should the worker return, its document says to stop it.
        return state.without_instance(record.key)
    presence = presences.get(record.worker)
    since = presence.current_since if presence else None
    if record.observed is None and since is not None and now.mono - since >= QUIET_S:
        return state.without_instance(record.key)
    return state


def _is_lost(state: State, presences: Presences, record: InstanceRecord) -> bool:
    if status_of(state, presences, record.worker) != DEAD:
        return False
    spec = state.spec(record.job_name)
    never = spec is not None and spec.restart.when == "never"
    over = record.state == InstanceState.COMPLETED or (
        never and record.state == InstanceState.FAILED
    )
    return not over


def _search(
    state: State, fleet: Fleet, record: InstanceRecord, known: Watch, capacity: int, now: Now
) -> tuple[State, Watch]:
    """Find a place for one that has none, or whose worker is dead."""
    if known.attempts and now.mono < known.retry_at and known.capacity == capacity:
        return state, known
    why = f"worker {record.worker} is dead" if record.worker else ""
    placed, decision = place(state, fleet, record, now, reason=why)
    if decision.worker is not None:
        return placed, replace(known, attempts=0)
    attempts = known.attempts + 1
    known = replace(
        known, attempts=attempts, retry_at=now.mono + delay(attempts), capacity=capacity
    )
    # It stays with its dead worker until it has another: that one may come back with it.
    became = InstanceState.LOST if record.worker else record.state
    since = record.since if became == record.state else now.wall
    kept = replace(record, state=became, since=since, reason=why_not(decision.verdicts, why))
    return (state if kept == record else state.with_instance(kept)), known


def _is_overdue(
    state: State,
    presences: Presences,
    record: InstanceRecord,
    known: Watch,
    timers: Timers,
    now: Now,
) -> bool:
    stage, seen = record.state, record.observed
    if stage == InstanceState.FAILED and seen is not None and seen.blocked:
        stage = InstanceState.CREATING  # it does not even start there: no better than no progress
    if stage not in (InstanceState.NODE_SCHEDULED, InstanceState.CREATING):
        return False
    if status_of(state, presences, record.worker) != READY:
        return False  # its silence is judged as the worker's, not as the instance's
    extra = delay(known.attempts, SLOWEST_REPLACEMENT_S)
    return lifecycle.overdue(stage, known.since + extra, timers, None, now.mono)


def _give_up(
    state: State, fleet: Fleet, record: InstanceRecord, known: Watch, now: Now
) -> tuple[State, Watch]:
    """Place anew what does not get on: elsewhere if possible, else where it is."""
    what = "no first sign" if record.state == InstanceState.NODE_SCHEDULED else "no progress"
    why = f"{what} from {record.worker} in time"
    known = replace(known, since=now.mono, attempts=known.attempts + 1)
    for avoid in ((record.worker,), ()):
        placed, decision = place(state, fleet, record, now, avoid=avoid, reason=why)
        if decision.worker is not None:
            return placed, known
    reason = why_not(decision.verdicts, why)
    kept = replace(record, reason=reason)
    return (state if kept == record else state.with_instance(kept)), known


def _bury(state: State, now: Now) -> State:
    occupied = {record.job_name for record in state.instances.values()}
    for job_name, service in state.services.items():
        if not service.gone_at or job_name in occupied:
            continue
        if now.wall - service.gone_at > TOMBSTONE_S:
            state = replace(state, services=drop(state.services, job_name))
        elif service.spec is not None:
            state = state.with_service(replace(service, spec=None))
    return state


def _anything_waits(state: State, presences: Presences) -> bool:
    return any(
        not record.stopping and (not record.worker or _is_lost(state, presences, record))
        for record in state.instances.values()
    )


def _capacity(state: State, fleet: Fleet) -> int:
    """A number that changes whenever a search could end differently."""
    return hash(
        tuple(
            (c.name, c.usable, c.facts.capacity - c.reserved)
            for c in sorted(candidates(state, fleet), key=lambda c: c.name)
        )
    )
