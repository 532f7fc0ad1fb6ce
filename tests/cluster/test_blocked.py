"""An instance that does not even start on its worker gets another one."""

from __future__ import annotations

from dataclasses import replace

from oakctl.model import messages as m
from oakctl.model.config import Timers
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.orchestration.cluster import liveness, membership, offers, sweep
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.state import SettingsRecord, State
from oakctl.overlay import addressing
from tests.cluster.rig import facts, spec

SERVICE = spec("a", memory_mb=100)
START = Now(1_000_000.0, 0.0)


def placed(workers: tuple[str, ...]) -> tuple[State, Fleet]:
    state = State("edge", SettingsRecord("rom"), addressing.worker_subnets("10.18.0.0/20"))
    presences = {}
    for name in workers:
        greeting = m.Greeting(name, "agent", m.PROTOCOL, facts(memory_mb=400))
        state, _ = membership.greet(state, greeting, 1.0, START)
        presences[name] = liveness.greeted(None, "agent", START)
    fleet = Fleet(presences)
    state, answer = offers.offer(state, fleet, m.Offer(SERVICE, 0, 1, 0.0), START)
    assert answer.accepted
    return state, fleet


def after(state: State, fleet: Fleet, seconds: float, *, blocked: bool) -> State:
    """The state when its worker has said so for that long."""
    (record,) = state.instances.values()
    seen = ObservedInstance(
        record.job_name, 0, record.epoch, InstanceState.FAILED, START.wall, blocked=blocked
    )
    state = state.with_instance(replace(record, state=InstanceState.FAILED, observed=seen))
    state, watches = sweep.sweep(state, fleet, {}, Timers(), START)
    later = Now(START.wall + seconds, START.mono + seconds)
    return sweep.sweep(state, fleet, watches, Timers(), later)[0]


def test_moves_after_the_deadline_and_not_before() -> None:
    state, fleet = placed(("w1", "w2"))
    (record,) = state.instances.values()
    (early,) = after(state, fleet, Timers().progress_s - 1, blocked=True).instances.values()
    assert early.worker == record.worker
    (moved,) = after(state, fleet, Timers().progress_s + 1, blocked=True).instances.values()
    assert moved.worker not in (record.worker, "")
    assert moved.epoch > record.epoch


def creating(signs: int, seconds: float) -> tuple[str, str]:
    """Its worker before and after so long, in which it gave so many signs of life."""
    state, fleet = placed(("w1", "w2"))
    (record,) = state.instances.values()
    watches: sweep.Watches = {}
    for number in range(signs + 1):
        seen = ObservedInstance(
            record.job_name, 0, record.epoch, InstanceState.CREATING, START.wall,
            progress=0.5, signs=number,
        )  # fmt: skip
        now = seconds * number / max(1, signs)
        state = state.with_instance(replace(record, state=InstanceState.CREATING, observed=seen))
        state, watches = sweep.sweep(
            state, fleet, watches, Timers(), Now(START.wall + now, START.mono + now)
        )
    later = Now(START.wall + seconds, START.mono + seconds)
    state, _ = sweep.sweep(state, fleet, watches, Timers(), later)
    return record.worker, next(iter(state.instances.values())).worker


def test_signs_of_life_keep_it_where_it_is() -> None:
    long = 5 * Timers().progress_s
    before, after_ = creating(signs=10, seconds=long)
    assert after_ == before
    before, after_ = creating(signs=0, seconds=long)
    assert after_ != before


def test_what_ran_and_failed_stays() -> None:
    state, fleet = placed(("w1", "w2"))
    (record,) = state.instances.values()
    (same,) = after(state, fleet, 3600.0, blocked=False).instances.values()
    assert (same.worker, same.epoch) == (record.worker, record.epoch)
