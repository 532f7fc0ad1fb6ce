"""A fault of the program itself: told in a line, kept in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl import paths
from oakctl.__main__ import main


def fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a fault of ours")


@pytest.fixture(autouse=True)
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("oakctl.cli.app.app", fail)


def test_a_fault_is_one_line_and_its_traceback_a_private_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["version"]) == 1
    told = capsys.readouterr().err
    assert "error: oakctl is at fault: ZeroDivisionError: a fault of ours\n" in told
    assert "Traceback" not in told
    (kept,) = paths.state_directory().glob("crash-*.txt")
    assert f"hint: please report it with {kept}\n" in told
    assert kept.stat().st_mode & 0o777 == 0o600
    assert 'raise ZeroDivisionError("a fault of ours")' in kept.read_text()


def test_a_fault_that_cannot_be_kept_is_told_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert main(["version"]) == 1
    assert "a fault of ours (its details could not be kept: " in capsys.readouterr().err
