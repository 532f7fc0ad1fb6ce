"""A comparison that finds nothing must be one that could have found something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.snapshot import IGNORED, SCRIPT, Snapshot, difference, parse

ITEMS = st.dictionaries(st.sampled_from([f"file /opt/{n}" for n in "abcdef"]), st.text(min_size=1))


def look(*roots: Path) -> Snapshot:
    done = subprocess.run(
        [sys.executable, "-", "/etc/passwd", *map(str, roots)],
        input=SCRIPT.encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    return parse(done.stdout.decode())


def test_what_is_done_to_files_shows(tmp_path: Path) -> None:
    for name in ("same", "gone", "written", "opened", "aside"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "link").symlink_to("same")
    before = look(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "written").write_text("otherwise")
    (tmp_path / "opened").chmod(0o644)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("written")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "inside").touch()

    found = {
        str(change)[0] + " " + change.name.removeprefix(f"file {tmp_path}/")
        for change in difference(before, look(tmp_path), kept={rf"file {tmp_path}/new": "test"})
        if str(tmp_path) in change.name
    }
    assert found == {"- gone", "~ written", "~ opened", "~ link", "+ new/inside"}


def test_users_and_packages_are_counted() -> None:
    items = look().items
    assert items["user root"].startswith("0:0:")
    assert items["group root"].startswith("0:")


@given(ITEMS, ITEMS)
def test_what_differs_is_what_is_told(before: dict[str, str], after: dict[str, str]) -> None:
    told = {change.name for change in difference(Snapshot(before), Snapshot(after))}
    assert told == {name for name, _ in before.items() ^ after.items()}
    assert difference(Snapshot(after), Snapshot(after)) == []


@pytest.mark.parametrize("name", ["/opt/oakctl", "/etc/systemd/system/oakctl-agent.service",
                                  "/home/oak/.oakctl", "/var/lib/systemd/linger/oak"])  # fmt: skip
def test_what_is_ours_is_never_ignored(name: str) -> None:
    assert difference(Snapshot({}), Snapshot({f"file {name}": "d"}))


def test_every_exception_has_its_reason() -> None:
    assert all(reason for reason in IGNORED.values())


@pytest.mark.parametrize("text", ["[]", "{}", json.dumps({"x": 1})])
def test_no_picture_is_no_empty_one(text: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        parse(text)
