"""The life of an instance: transitions, deadlines, back-off, epochs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.config import Timers
from oakctl.model.instance import InstanceState as S
from oakctl.model.service import RestartPolicy
from oakctl.orchestration import lifecycle

states = st.sampled_from(list(S))
times = st.floats(0, 2e9)
policies = st.builds(
    RestartPolicy,
    when=st.sampled_from(["always", "on-failure", "never"]),
    backoff_s=st.floats(0.01, 10),
    backoff_max_s=st.floats(10, 600),
    reset_after_s=st.floats(1, 600),
)


def test_every_state_is_in_the_table_and_every_state_can_be_left_for_undeployed() -> None:
    assert set(lifecycle.TRANSITIONS) == set(S)
    for state in set(S) - {S.UNDEPLOYED}:
        assert lifecycle.allowed(state, S.UNDEPLOYED)


def test_undeployed_is_the_end() -> None:
    assert [new for new in S if lifecycle.allowed(S.UNDEPLOYED, new)] == [S.UNDEPLOYED]


def test_the_way_through_is_allowed() -> None:
    way = [
        S.REGISTERED, S.REQUESTED, S.CLUSTER_SCHEDULED, S.NODE_SCHEDULED, S.CREATING, S.RUNNING,
        S.FAILED, S.CREATING, S.RUNNING, S.STOPPING, S.UNDEPLOYED,
    ]  # fmt: skip
    assert all(lifecycle.allowed(a, b) for a, b in itertools.pairwise(way))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (S.RUNNING, S.REQUESTED),
        (S.STOPPING, S.RUNNING),
        (S.COMPLETED, S.RUNNING),
        (S.REGISTERED, S.RUNNING),
        (S.REQUESTED, S.RUNNING),
    ],
)
def test_the_way_back_is_not(old: S, new: S) -> None:
    assert not lifecycle.allowed(old, new)


@given(states, times, st.none() | times, times)
def test_overdue_is_the_deadline_and_deadlines_lie_ahead(
    state: S, since: float, progress: float | None, now: float
) -> None:
    timers = Timers()
    deadline = lifecycle.deadline_of(state, since, timers, progress)
    assert deadline is None or deadline > since
    expected = deadline is not None and now >= deadline
    assert lifecycle.overdue(state, since, timers, progress, now) == expected


@given(times, times)
def test_progress_moves_the_deadline_of_creating_and_of_nothing_else(
    since: float, progress: float
) -> None:
    timers = Timers()
    for state in S:
        without = lifecycle.deadline_of(state, since, timers, None)
        with_progress = lifecycle.deadline_of(state, since, timers, progress)
        if state == S.CREATING:
            assert with_progress == max(since, progress) + timers.progress_s
        else:
            assert with_progress == without


def test_deadlines_as_promised() -> None:
    timers = Timers()
    assert lifecycle.deadline_of(S.NODE_SCHEDULED, 100, timers, None) == 115
    assert lifecycle.deadline_of(S.CLUSTER_SCHEDULED, 100, timers, None) == 115
    assert lifecycle.deadline_of(S.CREATING, 100, timers, None) == 160
    assert lifecycle.deadline_of(S.STOPPING, 100, timers, None, grace_s=5) == 115
    assert lifecycle.deadline_of(S.RUNNING, 100, timers, None) is None
    assert lifecycle.deadline_of(S.REQUESTED, 100, timers, None) is None
    assert lifecycle.deadline_of(S.REQUESTED, 100, timers, None, convergence_s=300) == 400


@given(policies, st.integers(1, 10_000))
def test_back_off_doubles_up_to_its_maximum(policy: RestartPolicy, failures: int) -> None:
    delay = lifecycle.restart_delay(policy, failures)
    following = lifecycle.restart_delay(policy, failures + 1)
    assert policy.backoff_s <= delay <= policy.backoff_max_s
    assert following == min(policy.backoff_max_s, 2 * delay)


def test_no_failure_no_wait() -> None:
    assert lifecycle.restart_delay(RestartPolicy(), 0) == 0


@given(policies, st.integers(0, 100), st.floats(0, 1000))
def test_failures_in_a_row_start_over_after_a_long_run(
    policy: RestartPolicy, failures: int, ran: float
) -> None:
    after = lifecycle.failures_after(policy, failures, ran)
    assert after == (1 if ran >= policy.reset_after_s else failures + 1)


def test_five_in_a_row_are_a_crash_loop() -> None:
    assert [lifecycle.is_crash_looping(n) for n in (0, 4, 5, 6)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("when", "exit_code", "one_shot", "expected"),
    [
        ("always", 0, False, True),
        ("always", 0, True, False),
        ("always", 1, True, True),
        ("always", None, False, True),
        ("on-failure", 0, False, False),
        ("on-failure", -9, False, True),
        ("never", 1, False, False),
    ],
)
def test_who_is_restarted(when: str, exit_code: int | None, one_shot: bool, expected: bool) -> None:
    policy = RestartPolicy(when=when)
    assert lifecycle.should_restart(policy, exit_code, one_shot=one_shot) is expected


@given(*[st.integers(0, 50)] * 4)
def test_newer_is_a_strict_order_and_epochs_come_first(a: int, s: int, b: int, t: int) -> None:
    assert not (lifecycle.newer(a, s, b, t) and lifecycle.newer(b, t, a, s))
    assert lifecycle.newer(a, s, b, t) or lifecycle.newer(b, t, a, s) or (a, s) == (b, t)
    if a != b:
        assert lifecycle.newer(a, s, b, t) == (a > b)
