"""Files for containers: packed as they are, the same bytes again, nothing that leads out."""

from __future__ import annotations

import os
import socket
import tarfile
from pathlib import Path

import pytest

from oakctl.client.files import pack
from oakctl.errors import NotFound, OakError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    (made / "deep").mkdir(parents=True)
    (made / "index.html").write_text("hello")
    (made / "deep/run.sh").write_text("#!/bin/sh\n")
    (made / "deep/run.sh").chmod(0o755)
    return made


def names(packed: Path) -> list[str]:
    with tarfile.open(packed) as archive:
        return archive.getnames()


def test_a_socket_is_refused_by_its_name(folder: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        with pytest.raises(OakError, match="site/s is neither a file nor a folder"):
            pack("site", tmp_path, tmp_path / "cache")


def test_a_folder_and_a_file(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    packed = pack("./site", tmp_path, cache)
    assert names(packed) == ["deep", "deep/run.sh", "index.html"]
    content = packed.read_bytes()
    os.utime(folder / "index.html", (1, 1))
    packed.unlink()
    assert pack("./site", tmp_path, cache).read_bytes() == content
    assert names(pack("site/index.html", tmp_path, cache)) == ["index.html"]
    (folder / "index.html").write_text("other")
    assert pack("./site", tmp_path, cache) != packed


def test_a_packed_one_is_looked_through(folder: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tar.gz", tmp_path / "bad.tar.gz"
    with tarfile.open(good, "w:gz") as archive:
        archive.add(folder, "site")
    assert pack("good.tar.gz", tmp_path, tmp_path / "cache") == good
    with tarfile.open(bad, "w:gz") as archive:
        archive.add(folder / "index.html", "../outside")
    with pytest.raises(OakError, match="is refused"):
        pack("bad.tar.gz", tmp_path, tmp_path / "cache")


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="are not there"):
        pack("./nothing", tmp_path, tmp_path / "cache")
    (tmp_path / "no.tar.gz").write_text("text")
    with pytest.raises(OakError, match="not a readable"):
        pack("no.tar.gz", tmp_path, tmp_path / "cache")
    (folder / "way").symlink_to("/etc/passwd")
    with pytest.raises(OakError, match="is refused"):
        pack("./site", tmp_path, tmp_path / "cache")
