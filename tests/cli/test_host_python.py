"""`oakctl host python`, and where other commands take an archive."""

from __future__ import annotations

import json
from pathlib import Path

from tests.standalone_python import foreign

from .conftest import Oakctl


def test_added_listed_and_taken_out(oakctl: Oakctl, tmp_path: Path) -> None:
    archive = foreign(tmp_path / "cpython-3.12.8+20250106-aarch64-unknown-linux-gnu.tar.gz", "3.12")
    added = oakctl("host", "python", "add", str(archive))
    assert (added.code, added.out) == (0, "")
    assert added.err == f"Python 3.12.8 for aarch64: {archive}\n"
    (listed,) = json.loads(oakctl("host", "python", "ls", "-o", "json").out)
    assert (listed["python"], listed["libc"], listed["name"]) == ("3.12.8", "glibc", archive.name)
    assert "aarch64" in oakctl("host", "python", "ls").out
    assert oakctl("host", "python", "rm", listed["sha256"][:12]).code == 0
    assert json.loads(oakctl("host", "python", "ls", "-o", "json").out) == []


def test_what_is_none_is_refused_before_anything_is_begun(oakctl: Oakctl, tmp_path: Path) -> None:
    """By every command that takes one: no root is started."""
    bad = tmp_path / "bad.tar.gz"
    bad.write_text("no archive")
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("hosts: []\npython_archive: bad.tar.gz\n")
    for command in (
        ("host", "python", "add", str(bad)),
        ("cluster", "create", "edge", "--on", "pi", "--python-archive", str(bad)),
        ("worker", "add", "w", "--cluster", "e", "--on", "pi", "--python-archive", str(bad)),
        ("fleet", "plan", "-f", str(fleet)),
        ("fleet", "apply", "-f", str(fleet), "--yes"),
    ):
        ended = oakctl(*command)
        assert (ended.code, ended.out) == (2, ""), ended.err
        assert "is no tar.gz of a Python" in ended.err
        assert "hint:" in ended.err
    assert oakctl("host", "python", "rm", "bad.tar.gz").code == 3
