"""`oakctl chaos` as it is typed, where no fleet is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Oakctl

EXAMPLE = Path(__file__).parents[2] / "examples" / "chaos" / "ar.yaml"


@pytest.fixture
def oakctl() -> Oakctl:
    return Oakctl()


def test_a_script_is_checked_without_a_fleet(oakctl: Oakctl, tmp_path: Path) -> None:
    good = oakctl("chaos", "validate", str(EXAMPLE))
    assert (good.code, good.out) == (0, "")
    assert "2 faults" in good.err
    typed = oakctl("chaos", "validate", "-", stdin="faults: [{at: 1s, do: {kill-buss: edge}}]")
    assert typed.code == 2
    assert "did you mean `kill-bus`?" in typed.err
    assert oakctl("chaos", "validate", str(tmp_path / "none.yaml")).code == 3


@pytest.mark.parametrize(
    "words",
    [
        ("slow", "w1", "--bandwidth", "fast"),
        ("isolate", "w1", "--for", "99h"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    oakctl: Oakctl, words: tuple[str, ...], own_directories: Path
) -> None:
    refused = oakctl("chaos", *words)
    assert (refused.code, refused.out) == (2, "")
    assert not (own_directories / "state").exists()  # no root was started for it
