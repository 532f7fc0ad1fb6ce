"""`oakctl worker token`, with a real root that has no cluster, and the file that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.cli import handing
from oakctl.errors import Conflict
from oakctl.model.tokens import JoinFile
from tests.cli.conftest import Oakctl

TOLD = JoinFile("ab12", "edge", "w7", "SECRET", "192.0.2.1", 4222, "ca")


def test_what_is_not_there_and_what_cannot_be(with_root: Oakctl, tmp_path: Path) -> None:
    file = tmp_path / "join.pyz"
    for words in (("token", "-o", str(file)), ("tokens",)):
        ended = with_root("worker", *words, "--cluster", "nothing")
        assert (ended.code, "there is no cluster 'nothing'" in ended.err) == (3, True), ended.err
    ended = with_root("worker", "token", "--cluster", "edge", "-o", "/nowhere/join.pyz")
    assert (ended.code, "no folder" in ended.err) == (2, True)
    assert not file.exists()


def test_the_file_is_its_makers_alone(tmp_path: Path) -> None:
    target = tmp_path / "join.pyz"
    target.write_text("an older one")
    target.chmod(0o644)
    handing.write(target, b"new", hint="")
    assert target.stat().st_mode & 0o777 == 0o600
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"new"]
    with pytest.raises(Conflict, match="can't be written"):
        handing.write(tmp_path / "none" / "join.pyz", b"new", hint="")
    assert "SECRET" not in repr(TOLD)
