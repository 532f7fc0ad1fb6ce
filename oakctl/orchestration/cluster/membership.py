"""Workers that come, are cordoned, and go. Pure.

Belongs here: their records and subnets, and where the instances go of one that leaves. Does not
belong here: credentials (`credentials`), being alive (`liveness`).
"""

from __future__ import annotations

from dataclasses import replace

from oakctl.errors import Conflict
from oakctl.model.messages import PROTOCOL, Greeting, GreetingAnswer
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.placement import Fleet, place, unplaced, why_not
from oakctl.orchestration.cluster.state import InstanceRecord, State, WorkerRecord, drop
from oakctl.overlay import addressing

UNDERSTOOD = (PROTOCOL, PROTOCOL - 1)


def enrolled(state: State, worker: str, now: Now) -> State:
    """With a record and a subnet for `worker`; raises Conflict when no subnet is left."""
    if worker in state.workers:
        return state
    subnets, subnet = addressing.lease(state.subnets, worker, now.wall)
    state = replace(state, subnets=subnets)
    return state.with_worker(WorkerRecord(worker, subnet=subnet))


def greet(
    state: State, greeting: Greeting, heartbeat_s: float, now: Now
) -> tuple[State, GreetingAnswer]:
    """Take note of what the worker offers, and of the agent that speaks for it from now on."""
    if greeting.protocol not in UNDERSTOOD:
        words = " and ".join(str(version) for version in sorted(UNDERSTOOD))
        reason = f"protocol {greeting.protocol} is not understood here, only {words}"
        return state, GreetingAnswer(False, reason=reason)
    try:
        state = enrolled(state, greeting.worker, now)
    except Conflict as none_left:
        return state, GreetingAnswer(False, reason=none_left.message)
    known = state.workers[greeting.worker]
    same_agent = known.agent_id == greeting.agent_id
    after = replace(
        known,
        facts=greeting.facts,
        agent_id=greeting.agent_id,
        report_seq=known.report_seq if same_agent else 0,
    )
    protocol = min(greeting.protocol, PROTOCOL)
    answer = GreetingAnswer(True, protocol=protocol, heartbeat_s=heartbeat_s)
    return (state if after == known else state.with_worker(after)), answer


def cordon(state: State, worker: str, *, cordoned: bool) -> State:
    """Keep new instances away from a worker, or no longer."""
    return state.with_worker(replace(state.workers[worker], cordoned=cordoned))


def drain(state: State, fleet: Fleet, worker: str, now: Now) -> State:
    """With nothing placed on the worker, nor to be placed; it stays, to stop what it has."""
    state = cordon(state, worker, cordoned=True)
    for record in tuple(state.on(worker)):
        if not record.stopping:
            state = _moved(state, fleet, record, f"worker {worker} is drained", now)
    return state


def remove(state: State, fleet: Fleet, worker: str, now: Now) -> State:
    """Without the worker; its instances are placed anew, or wait for a place."""
    orphans = tuple(state.on(worker))
    state = replace(
        state,
        workers=drop(state.workers, worker),
        addresses=drop(state.addresses, worker),
        subnets=addressing.release(state.subnets, worker, now.wall),
    )
    why = f"worker {worker} was removed"
    for record in orphans:
        if record.stopping:
            state = state.without_instance(record.key)
            continue
        state = _moved(state, fleet, record, why, now)
    return state


def _moved(state: State, fleet: Fleet, record: InstanceRecord, why: str, now: Now) -> State:
    free = unplaced(record, now, why)
    state, decision = place(state.with_instance(free), fleet, free, now, reason=why)
    if decision.worker is None:
        state = state.with_instance(replace(free, reason=why_not(decision.verdicts, why)))
    return state
