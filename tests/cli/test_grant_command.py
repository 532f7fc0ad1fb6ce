"""`oakctl cluster grant` and its kin, with a real root that has no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oakctl.cli import handing
from oakctl.errors import Conflict
from oakctl.model import wire
from oakctl.model.roots import AccessFile
from tests.cli.conftest import Oakctl

GIVEN = AccessFile("edge", "rob", "h", 22, "oak", ("x",), "KEY", "SECRET", "ca", "edge", "n")


def test_what_is_not_there_and_what_cannot_be(with_root: Oakctl, tmp_path: Path) -> None:
    assert with_root("cluster", "grant", "nothing", "rob", "-o", str(tmp_path / "f")).code == 3
    assert with_root("cluster", "revoke", "nothing", "rob").code == 2  # nobody to ask
    assert not (tmp_path / "f").exists()


def test_a_file_that_is_no_access_file_is_refused_in_words(
    with_root: Oakctl, tmp_path: Path
) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"cluster": "edge"}))
    ended = with_root("cluster", "join", str(file))
    assert (ended.code, "is no access file" in ended.err) == (2, True)
    file.write_bytes(wire.encode(GIVEN))
    ended = with_root("cluster", "join", str(file))
    assert (ended.code, "can't be read" in ended.err) == (2, True)
    assert "SECRET" not in ended.err + ended.out
    assert json.loads(with_root("host", "ls", "-o", "json").out) == []


def test_the_file_is_the_operators_alone(tmp_path: Path) -> None:
    target = tmp_path / "edge.json"
    target.write_text("an older one")
    target.chmod(0o644)
    handing.write(target, wire.encode(GIVEN), hint="")
    assert target.stat().st_mode & 0o777 == 0o600
    assert wire.decode(target.read_bytes(), AccessFile) == GIVEN
    assert [file.name for file in tmp_path.iterdir()] == ["edge.json"]
    with pytest.raises(Conflict, match="can't be written"):
        handing.write(tmp_path / "none" / "edge.json", b"new", hint="")
