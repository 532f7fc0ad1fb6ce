"""The pure rule of autoscaling: from measures to a number, in simulated time."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.resources import Resources
from oakctl.model.service import Autoscale, Pace
from oakctl.orchestration.cluster import autoscale
from oakctl.orchestration.cluster.autoscale import Measured, Memory, decide
from tests.cluster.rig import spec

RULES = Autoscale(1, 5, {"rps": 10.0}, up=Pace(5, 1, 15), down=Pace(30, 1, 20))
LOADS = st.one_of(st.none(), st.floats(0, 1000))


def rps(*values: float | None) -> list[Measured]:
    return [Measured({} if value is None else {"rps": value}) for value in values]


def play(rules: Autoscale, loads: list[float | None], have: int = 1) -> list[tuple[int, int]]:
    """Each change as (second, count) where all load is shared evenly and wishes are followed."""
    memory, changes = Memory(), []
    for second, load in enumerate(loads):
        each = None if load is None else load / have
        found = decide(rules, rps(*[each] * have), memory, float(second))
        memory = found.memory
        if found.wanted != have:
            have = found.wanted
            changes.append((second, have))
    return changes


def test_more_load_adds_one_after_the_other_and_less_takes_them_back() -> None:
    found = play(RULES, [5] * 10 + [35] * 60 + [5] * 150)
    # A change is seen a second later. Up: 5 s above, then 15 s of cool-down; down: 30 s below.
    assert found == [(15, 2), (31, 3), (47, 4), (100, 3), (131, 2), (162, 1)]


def test_a_short_peak_and_a_short_lull_change_nothing() -> None:
    assert play(RULES, ([35] * 5 + [10]) * 20) == []
    assert play(RULES, ([5] * 29 + [20]) * 10, have=2) == []


def test_what_lasted_before_a_change_does_not_count_after_it() -> None:
    steps = Autoscale(1, 5, {"rps": 10.0}, up=Pace(5, 1, 0), down=Pace(30, 1, 0))
    assert play(steps, [50.0] * 20) == [(5, 2), (11, 3), (17, 4)]


def test_a_silent_instance_is_never_a_reason_to_take_one_away() -> None:
    memory = Memory()
    for second in range(500):
        found = decide(RULES, rps(0.0, None, 0.0), memory, float(second))
        memory = found.memory
        assert found.wanted == 3


def test_none_is_added_while_one_is_on_its_way() -> None:
    memory, busy = Memory(), [*rps(100.0), Measured({}, settled=False)]
    for second in range(100):
        found = decide(RULES, busy, memory, float(second))
        memory = found.memory
        assert found.wanted == 2
    assert decide(RULES, rps(100.0, 100.0), memory, 100.0).wanted == 3


def test_the_highest_count_of_several_targets_wins_and_is_the_reason() -> None:
    rules = Autoscale(1, 9, {"cpu": 50.0, "rps": 10.0}, up=Pace(0, 9, 0))
    found = decide(rules, [Measured({"cpu": 60.0, "rps": 40.0})], Memory(), 0.0)
    assert found.wanted == 4
    assert "rps 40/s, target 10/s" in found.reason


def test_near_the_target_is_on_it() -> None:
    rules = Autoscale(1, 9, {"rps": 10.0}, up=Pace(0, 9, 0), down=Pace(0, 9, 0))
    for value in (9.1, 10.0, 10.9):
        assert decide(rules, rps(value, value), Memory(), 0.0).wanted == 2


@given(
    st.integers(1, 6).flatmap(lambda low: st.tuples(st.just(low), st.integers(low, 8))),
    st.lists(st.tuples(st.integers(1, 8), st.lists(LOADS, min_size=8, max_size=8)), max_size=80),
    st.integers(0, 10),
    st.integers(0, 10),
    st.integers(1, 3),
)
def test_bounds_pace_and_silence(
    bounds: tuple[int, int],
    seen: list[tuple[int, list[float | None]]],
    stabilisation: int,
    cooldown: int,
    step: int,
) -> None:
    """Whatever instances say, and whoever else changes their number."""
    low, high = bounds
    pace = Pace(stabilisation, step, cooldown)
    rules = Autoscale(low, high, {"rps": 10.0}, up=pace, down=pace)
    memory, had, since = Memory(), -1, -math.inf
    for second, (have, values) in enumerate(seen):
        if have != had and had >= 0:
            since = second
        had = have
        found = decide(rules, rps(*values[:have]), memory, float(second))
        memory = found.memory
        if low <= have <= high:
            assert low <= found.wanted <= high
            assert abs(found.wanted - have) <= step
            if found.wanted != have:
                assert second - since >= cooldown
        if None in values[:have]:
            assert found.wanted >= min(have, high)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.integers(1, 20))
def test_no_flapping_within_the_stabilisation(loads: list[float], seconds: int) -> None:
    """Two changes in opposite directions are never nearer to each other than that."""
    pace = Pace(seconds, 1, 0)
    changes = play(Autoscale(1, 8, {"rps": 10.0}, up=pace, down=pace), [*loads], have=3)
    for (before, _), (after, _) in itertools.pairwise(changes):
        assert after - before >= seconds


@pytest.mark.parametrize(
    ("metrics", "value"),
    [
        ({"queue_delay_ms": 3.0, "ar_queue_delay_ms": 4.0}, 3.0),
        ({"ar_queue_delay_ms": 4.0, "queue": 1.0}, 4.0),
        ({"queue_delay_ms": math.inf}, None),
        ({"queue_delay_ms": -1.0}, None),
        ({"xqueue_delay_ms": 1.0}, None),
    ],
)
def test_names_of_metrics(metrics: dict[str, float], value: float | None) -> None:
    service = spec(autoscale=Autoscale(1, 2, {"queue_delay_ms": 1.0}))
    assert autoscale.values_of(service, 0.0, metrics).get("queue_delay_ms") == value


def test_cpu_is_a_share_of_what_was_asked_for() -> None:
    service = spec(autoscale=Autoscale(1, 2, {"cpu": 50.0}))
    assert service.requests == Resources(vcpus=0.1, memory_mb=10)
    assert autoscale.values_of(service, 8.0, {}) == {"cpu": pytest.approx(80.0)}
