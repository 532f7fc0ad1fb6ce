"""What counts as getting on with an image."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker.docker.effort import BELIEVED, SIGN_EVERY_S, Effort


def test_a_silent_attempt_gives_signs() -> None:
    effort = Effort().begun(100.0)
    told = [effort.signs_at(100.0 + n * SIGN_EVERY_S) for n in range(7)]
    assert told == [0, 1, 2, 3, 4, 5, 6]


def test_what_fails_again_and_again_stops_giving_signs() -> None:
    effort, now, told = Effort(), 0.0, []
    for _ in range(BELIEVED + 3):
        effort = effort.begun(now).reached(0.7)
        now += 10 * SIGN_EVERY_S
        effort = effort.failed(now, "no space left on this node")
        told.append((effort.share, effort.signs_at(now)))
        now += 60.0
    assert told[BELIEVED - 1] == told[-1]
    assert effort.problem


def test_what_fails_at_once_gives_none() -> None:
    effort = Effort()
    for number in range(10):
        effort = effort.begun(number * 60.0).failed(number * 60.0 + 1.0, "the registry is away")
    assert effort.signs_at(1e6) == 0


def test_the_smallest_step_is_told_and_the_problem_goes_with_it() -> None:
    effort = Effort().begun(0.0).reached(0.5).failed(1.0, "broken off").begun(2.0)
    assert effort.reached(0.3) == effort, "it was further before"
    further = effort.reached(0.502)
    assert (further.share, further.problem) == (0.502, "")


@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from(["begun", "failed"])), max_size=20))
def test_neither_falls(events: list[float | str]) -> None:
    effort, now = Effort(), 0.0
    for event in events:
        before, now = (effort.share, effort.signs_at(now)), now + 7.0
        if event == "begun":
            effort = effort.begun(now)
        elif event == "failed":
            effort = effort.failed(now, "why")
        else:
            effort = effort.reached(float(event))
        assert effort.share >= before[0]
        assert effort.signs_at(now) >= before[1] or event == "begun"
