"""Shares of a service address, and how little of them changes hands."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from oakctl.overlay.kernel.places import PLACES, Places, shared

NAMES = st.lists(st.integers(1, 99).map(str), min_size=1, max_size=70, unique=True)
WEIGHTS = st.dictionaries(st.integers(1, 30).map(str), st.integers(0, 12), min_size=1, max_size=12)


def moved(before: Places, after: Places) -> int:
    return sum(old != new for old, new in zip(before, after, strict=True))


def history(steps: list[dict[str, int]]) -> Places:
    found: Places = ()
    for weights in steps:
        found = shared(weights, found)
    return found


@given(st.lists(WEIGHTS, min_size=1, max_size=6))
def test_shares_are_in_proportion_within_one_place(steps: list[dict[str, int]]) -> None:
    found, weights = history(steps), steps[-1]
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    assert len(found) == PLACES
    held = Counter(found)
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(held[name] - PLACES * weight / total) < 1
    assert set(held) <= {name for name, weight in weights.items() if weight}


@given(NAMES, st.data())
def test_when_one_leaves_nobody_else_loses_a_place(names: list[str], data: st.DataObject) -> None:
    before = shared(dict.fromkeys(names, 1))
    gone = data.draw(st.sampled_from(names))
    after = shared({name: 1 for name in names if name != gone}, before)
    if after:
        assert moved(before, after) == before.count(gone)


@given(NAMES)
def test_one_that_comes_takes_its_share_and_no_more(names: list[str]) -> None:
    before = shared(dict.fromkeys(names, 1))
    after = shared({**dict.fromkeys(names, 1), "new": 1}, before)
    assert moved(before, after) == after.count("new")


@given(WEIGHTS, WEIGHTS)
def test_what_changes_hands_is_what_the_new_shares_need(
    one: dict[str, int], other: dict[str, int]
) -> None:
    before = shared(one)
    after = shared(other, before)
    came = Counter(after) - Counter(before)
    assert moved(before, after) == came.total()
    assert shared(other, after) == after


def test_nobody_has_nothing_and_one_has_all() -> None:
    assert shared({}) == ()
    assert set(shared({"a": 0})) == {"a"}
    assert Counter(shared({"a": 3, "b": 1})) == {"a": 45, "b": 15}
    assert Counter(shared({"a": 0, "b": 0})) == {"a": 30, "b": 30}
