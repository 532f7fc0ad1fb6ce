"""An agent that is refused asks more and more seldom."""

from __future__ import annotations

import os
from pathlib import Path

from oakctl.orchestration.worker import refusals


def test_waits_grow_to_some_minutes_and_a_lasting_peace_ends_them(tmp_path: Path) -> None:
    file = tmp_path / "refused"
    waits = [refusals.wait_s(refusals.count(file)) for _ in range(12)]
    assert waits[:4] == [0.0, 2.0, 4.0, 8.0]
    assert waits == sorted(waits)
    assert waits[-1] == refusals.LONGEST_S
    os.utime(file, (0, 0))
    assert refusals.count(file) == 1
    assert refusals.count(file) == 2
    refusals.forget(file)
    assert refusals.count(file) == 1


def test_a_file_that_says_nothing_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "refused").write_text("\x00x")
    assert refusals.count(tmp_path / "refused") == 1
    assert refusals.count(tmp_path / "gone" / "refused") == 1
