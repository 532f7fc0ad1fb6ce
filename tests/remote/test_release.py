"""Which release is in force, when the host goes down in the middle of changing that."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import NotFound
from oakctl.remote import release
from oakctl.remote.step import CommandFailed
from tests.remote.here import Here

# Ends the shell that calls it, and itself, at the move whose number is in the file `cut`.
MOVE = """
dir=$(dirname "$0")
at=$(($(cat "$dir/moves" 2>/dev/null || echo 0) + 1)); echo $at >"$dir/moves"
[ "$at" != "$(cat "$dir/cut")" ] || { kill -KILL $PPID; exit 1; }
exec /bin/mv "$@"
"""


@pytest.fixture
def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    made.put_program("mv", MOVE)
    cut_at(made, 0)
    for version in ("one", "two", "three"):
        folder = made.prefix / "releases" / version
        folder.mkdir(parents=True)
        (folder / "complete").touch()
    assert release.switch(made, "one") == ""
    assert release.switch(made, "two") == "one"
    return made


def cut_at(here: Here, move: int) -> None:
    (here.programs / "cut").write_text(str(move))
    (here.programs / "moves").unlink(missing_ok=True)


def links(here: Here) -> tuple[str, str]:
    return release.in_force(here), release.previous(here)


@pytest.mark.parametrize("move", [1, 2])
def test_a_switch_that_was_cut_off(here: Here, move: int) -> None:
    cut_at(here, move)
    with pytest.raises(CommandFailed):
        release.switch(here, "three")
    assert links(here)[0] == "two"
    cut_at(here, 0)
    assert release.switch(here, "three") == "two"
    assert links(here) == ("three", "two")
    assert release.switch(here, "three") == "two", "twice is fine"


@pytest.mark.parametrize("move", [1, 2])
def test_a_way_back_that_was_cut_off(here: Here, move: int) -> None:
    cut_at(here, move)
    with pytest.raises(CommandFailed):
        release.roll_back(here, "two")
    assert links(here)[1] == "one", "there is always one to go back to"
    cut_at(here, 0)
    assert release.roll_back(here, "two") == "one"
    assert release.in_force(here) == "one"
    assert release.roll_back(here, "two") == "one", "twice is fine"


def test_each_is_one_question(here: Here) -> None:
    here.commands.clear()
    release.switch(here, "three")
    release.roll_back(here, "three")
    assert len(here.commands) == 2
    assert links(here) == ("two", "three")


def test_what_is_not_whole_is_not_put_in_force(here: Here) -> None:
    (here.prefix / "releases/one/complete").unlink()
    with pytest.raises(NotFound, match="no release to go back to"):
        release.roll_back(here, "two")
    with pytest.raises(NotFound, match="release one is not there"):
        release.switch(here, "one")
    assert links(here) == ("two", "one")
