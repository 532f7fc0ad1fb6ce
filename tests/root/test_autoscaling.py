"""What the root makes of a cluster's wish for another number of instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.messages import ScaleWish
from oakctl.model.service import Autoscale
from oakctl.orchestration.root.autoscaling import follow
from oakctl.orchestration.root.delegation import Phase, Row

RULES = Autoscale(1, 4, {"cpu": 50.0})


def rows(*clusters: str) -> list[Row]:
    return [
        Row("a.n.s.n", number, True, Phase.PLACED if at else Phase.UNPLACED, 1, at)
        for number, at in enumerate(clusters)
    ]


def wish(have: int, wanted: int) -> ScaleWish:
    return ScaleWish("a.n.s.n", have, wanted, 1.0, "cpu 90 %, target 50 % for 5 s")


@pytest.mark.parametrize(
    ("clusters", "told", "count"),
    [
        (("edge",), wish(1, 2), 2),
        (("edge", "cloud"), wish(1, 2), 3),  # the others stay
        (("edge", "edge", "cloud"), wish(2, 1), 2),
        (("edge", "edge"), wish(1, 2), 2),  # late: it was followed already
        (("edge", ""), wish(1, 2), 2),  # one waits for a place as it is
        (("edge",), wish(1, 9), 4),  # never above the service's maximum
        (("edge",), wish(1, 0), 1),
    ],
)
def test_a_wish_is_about_those_that_its_cluster_has(
    clusters: tuple[str, ...], told: ScaleWish, count: int
) -> None:
    assert follow(RULES, rows(*clusters), "edge", told) == count


@given(
    st.lists(st.sampled_from(["edge", "cloud", ""]), min_size=1, max_size=4),
    st.integers(-5, 9),
    st.integers(-5, 99),
)
def test_whatever_a_cluster_says_the_bounds_hold(
    clusters: list[str], have: int, wanted: int
) -> None:
    assert 1 <= follow(RULES, rows(*clusters), "edge", wish(have, wanted)) <= 4
