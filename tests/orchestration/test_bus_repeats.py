"""Which lines about an absent bus are logged."""

from __future__ import annotations

from oakctl.orchestration.bus import REPEAT_S, Repeats


def test_equal_lines_are_logged_once_in_each_span() -> None:
    repeats = Repeats()
    times = [step * 0.25 for step in range(4 * REPEAT_S * 3)]
    logged = [now for now in times if repeats.is_news("bus: away", now)]
    assert logged == [0, REPEAT_S, 2 * REPEAT_S]


def test_another_line_is_logged_at_once() -> None:
    repeats = Repeats()
    assert repeats.is_news("bus: away", 0)
    assert repeats.is_news("bus: refused", 1)
    assert not repeats.is_news("bus: away", 2)
