"""Files of the host itself: whole or untouched, whatever becomes of the connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.remote import host_files
from oakctl.remote.step import CommandFailed
from tests.remote.here import Here

LINE = "console=serial0,115200 root=PARTUUID=4b2c-02 rootfstype=ext4 rootwait quiet\n"
MORE = LINE.replace("quiet", "quiet cgroup_enable=memory cgroup_memory=1")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "boot" / "cmdline.txt"
    made.parent.mkdir()
    made.write_text(LINE)
    made.chmod(0o640)
    return made


@pytest.mark.parametrize("arrives", [0, 1, len(MORE) // 2, len(MORE) - 1])
def test_what_arrives_in_part_changes_nothing(here: Here, file: Path, arrives: int) -> None:
    """A Pi with an empty command line does not boot."""
    here.arrives = arrives
    with pytest.raises(CommandFailed, match="ended with 65"):
        host_files.replace(here, str(file), MORE)
    assert file.read_text() == LINE
    here.arrives = None
    host_files.replace(here, str(file), MORE)
    assert file.read_text() == MORE


def test_mode_and_copy_are_kept_and_nothing_else_is_left(here: Here, file: Path) -> None:
    for content in (MORE, "second\n"):
        host_files.replace(here, str(file), content)
    assert file.stat().st_mode & 0o777 == 0o640
    kept = Path(f"{file}{host_files.KEPT}")
    assert kept.read_text() == LINE, "as it was before the first time"
    assert sorted(file.parent.iterdir()) == [file, kept]
    host_files.forget_copy(here, str(file))
    assert list(file.parent.iterdir()) == [file]


def test_one_that_was_not_there_goes_again(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "etc" / "docker" / "daemon.json"
    assert host_files.read(here, str(file)) is None
    host_files.replace(here, str(file), "{}\n")
    assert file.stat().st_mode & 0o777 == 0o644
    assert host_files.read(here, str(file)) == "{}\n"
    host_files.remove(here, str(file))
    assert list(file.parent.iterdir()) == []


def test_what_cannot_be_read_is_not_taken_for_nothing(here: Here, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        host_files.read(here, str(tmp_path))  # `cat` of a folder fails
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(OakError, match="not text in UTF-8"):
        host_files.read(here, str(tmp_path / "latin"))
