"""Trees as tar streams: what is taken along, and what is refused whoever sends it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from oakctl.orchestration import copying
from oakctl.orchestration.copying import Refused


def tar(*members: tarfile.TarInfo | str) -> io.BytesIO:
    """Members as they are; a name is a small file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for one in members:
            member = tarfile.TarInfo(one) if isinstance(one, str) else one
            member.size = 2 if member.isreg() else 0
            archive.addfile(member, io.BytesIO(b"hi"))
    stream.seek(0)
    return stream


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def folder(name: str) -> tarfile.TarInfo:
    return special(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> tarfile.TarInfo:
    return special(name, tarfile.SYMTYPE, target)


def copied(source: Path, target: Path) -> None:
    stream = io.BytesIO()
    copying.pack(source, stream)
    stream.seek(0)
    copying.unpack(stream, target)


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/run").write_text("x")
    (tree / "a/run").chmod(0o755)
    (tree / "a/same").hardlink_to(tree / "a/run")
    (tree / "a/b/up").symlink_to("../run")
    (tree / ("long " * 30 + "ä")).write_bytes(b"")
    os.mkfifo(tree / "pipe")
    copied(tree, tmp_path / "new")
    new = tmp_path / "new"
    assert (new / "a/same").read_text() == "x"
    assert (new / "a/run").stat().st_mode & 0o777 == 0o755
    assert (new / "a/b/up").read_text() == "x"
    assert (new / ("long " * 30 + "ä")).exists()
    assert not (new / "pipe").exists()
    copied(tree, new)  # into what is there: under its own name
    assert (new / "tree/a/run").read_text() == "x"
    copied(tree / "a/run", new / "a/run")  # a file that is there is replaced
    assert sorted(path.name for path in (new / "a").iterdir()) == ["b", "run", "same"]


@pytest.mark.parametrize(
    "members",
    [
        ("../evil",),
        ("/evil",),
        ("top", "other"),
        (folder("top"), "top/../../evil"),
        (link("top", "evil"),),
        (folder("top"), link("top/l", "/etc")),
        (folder("top"), link("top/l", "../..")),
        (folder("top"), link("top/l", "a/../../evil")),
        (folder("top"), folder("top/d"), link("top/d/s", "."), link("top/d/l", "s/s/../../..")),
        (folder("top"), link("top/l", "."), "top/l/../../evil"),
        (folder("top"), special("top/h", tarfile.LNKTYPE, "../evil")),
        (folder("top"), special("top/d", tarfile.CHRTYPE)),
        (folder("top"), special("top/p", tarfile.FIFOTYPE)),
        (),
    ],
)
def test_what_leads_out_or_is_no_file_is_refused(
    tmp_path: Path, members: tuple[tarfile.TarInfo | str, ...]
) -> None:
    place = tmp_path / "x/place"
    place.mkdir(parents=True)
    with pytest.raises(Refused):
        copying.unpack(tar(*members), place)
    made = {path for path in tmp_path.rglob("*") if place not in path.parents}
    assert made == {tmp_path / "x", place}
    for path in place.rglob("*"):
        assert place in (path.resolve(), *path.resolve().parents)


def test_links_that_are_there_already_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    (place / "top").mkdir(parents=True)
    (place / "top/out").symlink_to(outside)
    (place / "top/file").symlink_to(outside / "made")
    with pytest.raises(Refused):
        copying.unpack(tar(folder("top"), "top/out/evil"), place)
    copying.unpack(tar(folder("top"), "top/file"), place)  # the link itself is replaced
    assert list(outside.iterdir()) == []
    assert (place / "top/file").read_text() == "hi"


def test_paths_of_instances(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "out").symlink_to("/etc")
    assert copying.inside(work, "/a/./b") == work / "a/b"
    assert copying.inside(work, "/") == work
    for given in ("..", "a/../../b", "out", "out/passwd"):
        with pytest.raises(Refused):
            copying.inside(work, given)
