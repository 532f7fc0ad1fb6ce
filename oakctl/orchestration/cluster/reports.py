"""What workers report of their instances, merged into the records. Pure.

A report tells everything a worker has. Late ones are known by the agent and its sequence number,
late words about an instance by the epoch: they change nothing. Belongs here also: when an
instance that was to stop is gone, and when its address is free. Does not belong here: what is
done about an instance that does not get on (`sweep`).
"""

from __future__ import annotations

from dataclasses import replace

from oakctl.model.documents import Report
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.resources import Resources
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.placement import unplaced
from oakctl.orchestration.cluster.state import InstanceRecord, Key, State, put
from oakctl.overlay import addressing

_OCCUPIES_NOTHING = frozenset({InstanceState.UNDEPLOYED, InstanceState.COMPLETED})


def is_late(state: State, report: Report) -> bool:
    """Whether the report is of an agent that does not greet us any more, or an older one."""
    worker = state.workers.get(report.worker)
    if worker is None or worker.agent_id != report.agent_id:
        return True
    return report.seq < worker.report_seq


def merge(state: State, report: Report, desired_revision: int, now: Now) -> State:
    """The state after the report; `desired_revision` is of the worker's document in force.

    Records of other workers are never touched, whatever the report says.
    """
    seen = {(o.job_name, o.number): o for o in report.instances}
    before = state
    for record in tuple(state.on(report.worker)):
        observed = seen.get(record.key)
        if observed is not None and observed.epoch == record.epoch:
            state = _seen(state, record, observed, now)
        else:
            current = report.desired_revision >= desired_revision
            state = _missing(state, record, current=current, now=now)
    state = _settle_addresses(state, report, now)
    if state is before:
        return state
    worker = state.workers[report.worker]
    return state.with_worker(replace(worker, report_seq=report.seq))


def holds(report: Report) -> int:
    """How many instances the worker has that have not ended."""
    return sum(observed.state not in _OCCUPIES_NOTHING for observed in report.instances)


def leftovers(state: State, report: Report) -> Resources:
    """What instances use that the worker still has and is not to run any more."""
    placed = {(r.key, r.epoch) for r in state.on(report.worker)}
    total = Resources()
    for observed in report.instances:
        key: Key = (observed.job_name, observed.number)
        spec = state.spec(observed.job_name)
        ours = (key, observed.epoch) in placed
        if spec is not None and not ours and observed.state not in _OCCUPIES_NOTHING:
            total = total + spec.requests
    return total


def _seen(state: State, record: InstanceRecord, observed: ObservedInstance, now: Now) -> State:
    if record.stopping:
        if observed.state == InstanceState.UNDEPLOYED:
            return state.without_instance(record.key)
        after = replace(record, observed=observed)
    elif observed.state == InstanceState.UNDEPLOYED:
        # It ended this placement, though nobody asked for that; only another can run again.
        after = unplaced(record, now, f"{record.worker} has taken it down unasked")
    else:
        after = replace(
            record,
            observed=observed,
            state=observed.state,
            since=observed.since,
            reason=observed.reason,
        )
    return state if after == record else state.with_instance(after)


def _missing(state: State, record: InstanceRecord, *, current: bool, now: Now) -> State:
    """The worker does not have it, or has an earlier placement of it only."""
    if record.stopping:
        # A worker that had it and has it no more has stopped it. One that never had it must
        # have read that it is not wanted: until then it may still start it.
        confirmed = record.observed is not None or current
        return state.without_instance(record.key) if confirmed else state
    if record.observed is None:
        return state
    again = replace(
        record,
        observed=None,
        state=InstanceState.NODE_SCHEDULED,
        since=now.wall,
        reason=f"{record.worker} has it no more and is to start it again",
    )
    return state.with_instance(again)


def _settle_addresses(state: State, report: Report, now: Now) -> State:
    leases = state.addresses.get(report.worker)
    if leases is None:
        return state
    used = {record.holder for record in state.on(report.worker)}
    for observed in report.instances:
        if observed.state != InstanceState.UNDEPLOYED:
            used.add(f"{observed.name}@{observed.epoch}")
    after = leases
    for holder in leases.held:
        if holder not in used:
            after = addressing.release(after, holder, now.wall)
    if after is leases:
        return state
    return replace(state, addresses=put(state.addresses, report.worker, after))
