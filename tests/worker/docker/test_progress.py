"""How far a pull is."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.orchestration.worker.docker.progress import PullProgress


def lines(*parts: tuple[str, str, int, int]) -> Iterable[dict[str, object]]:
    for layer, status, current, total in parts:
        yield {
            "id": layer,
            "status": status,
            "progressDetail": {"current": current, "total": total},
        }


def test_progress_of_a_pull() -> None:
    progress = PullProgress()
    shares = [
        progress.take(line)
        for line in lines(
            ("a", "Pulling fs layer", 0, 0),
            ("b", "Pulling fs layer", 0, 0),
            ("a", "Downloading", 50, 100),
            ("a", "Download complete", 0, 0),
            ("b", "Already exists", 0, 0),
            ("c", "Pulling fs layer", 0, 0),
            ("a", "Extracting", 100, 100),
            ("a", "Pull complete", 0, 0),
            ("c", "Pull complete", 0, 0),
        )
    ]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(0.175)
    assert shares[-1] == 1.0


statuses = st.sampled_from(
    ["Pulling fs layer", "Downloading", "Download complete", "Extracting", "Pull complete", "?"]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c"]), statuses, st.integers(0, 9), st.integers(0, 9)
        )
    )
)
def test_progress_never_falls_and_stays_a_share(parts: list[tuple[str, str, int, int]]) -> None:
    progress, last = PullProgress(), 0.0
    for line in lines(*parts):
        share = progress.take(line)
        assert last <= share <= 1.0
        last = share
