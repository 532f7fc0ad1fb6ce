"""The unit state machine: back-off doubles, has a bound, and starts over after a good run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.lab import unit_state
from oakctl.lab.unit_state import BACKOFF_FIRST_S, BACKOFF_LONGEST_S, Phase, UnitState

times = st.floats(min_value=0, max_value=60, allow_nan=False)


def test_it_doubles_from_a_fifth_of_a_second_to_five_seconds() -> None:
    state, now, waits = UnitState(), 100.0, []
    for _ in range(8):
        state = unit_state.ended(unit_state.started(state, 7, now), 1, now)
        waits.append(unit_state.wait_s(state, now))
        now = state.next_start
    assert [round(wait, 3) for wait in waits] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert state.restarts == 7


def test_a_unit_that_ran_ten_seconds_starts_over() -> None:
    state = UnitState(delay_s=5.0)
    state = unit_state.ended(unit_state.started(state, 7, 0.0), -9, 10.0)
    assert (state.delay_s, state.exit_code) == (BACKOFF_FIRST_S, -9)


def test_stopping_forgets_the_back_off() -> None:
    state = unit_state.ended(unit_state.started(UnitState(), 7, 0.0), 1, 0.0)
    state = unit_state.stopped(state, 0, 1.0)
    assert (state.phase, state.pid, state.restarts, state.delay_s) == (Phase.STOPPED, 0, 0, 0.0)


@given(st.lists(st.tuples(times, times), max_size=30))
def test_every_wait_is_bounded_and_every_restart_counted(runs: list[tuple[float, float]]) -> None:
    state, now = UnitState(), 0.0
    for ran, late in runs:
        state = unit_state.started(state, 7, now)
        now += ran
        state = unit_state.ended(state, None, now)
        wait = unit_state.wait_s(state, now)
        assert 0 < wait <= BACKOFF_LONGEST_S + 1e-9
        assert unit_state.wait_s(state, state.next_start) == 0
        assert (state.phase, state.pid) == (Phase.BACKING_OFF, 0)
        now = state.next_start + late
    assert state.restarts == max(0, len(runs) - 1)
