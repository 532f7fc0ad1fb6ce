"""Unpacking where Python has its own filter, and where it has none (as on Debian 12)."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from oakctl.orchestration.worker import unpack


@pytest.fixture(params=["with the filter", "without it"])
def interpreter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of Python."""
    if request.param == "without it":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    return str(request.param)


def packed(folder: Path, *members: tarfile.TarInfo) -> tuple[Path, str]:
    path = folder / "artifact.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def run(folder: Path, *members: tarfile.TarInfo) -> int:
    path, sha256 = packed(folder, *members)
    (folder / "target").mkdir()
    return unpack.main(str(path), sha256, str(folder / "target"))


@pytest.mark.usefixtures("interpreter")
def test_files_keep_their_content_and_lose_what_is_dangerous(tmp_path: Path) -> None:
    program = member("bin/tool", size=3, mode=0o6777, uid=12345, gid=12345)
    assert run(tmp_path, member("bin", tarfile.DIRTYPE, mode=0o777), program) == 0
    made = tmp_path / "target/bin/tool"
    assert made.read_text() == "xxx"
    assert made.stat().st_mode & 0o7022 == 0
    assert made.stat().st_mode & 0o100
    assert made.stat().st_uid == os.getuid()


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("a/../../outside"),
        member("way", tarfile.SYMTYPE, linkname="../.."),
        member("way", tarfile.SYMTYPE, linkname="/etc"),
        member("way", tarfile.LNKTYPE, linkname="../outside"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: f"{bad.name}->{bad.linkname}",
)
def test_what_leaves_the_directory_is_refused(
    tmp_path: Path, bad: tarfile.TarInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, bad) == unpack.REFUSED
    assert bad.name in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact.tar.gz", "target"]
