"""Files and directories as a tar stream, and out of one.

Belongs here: what is taken along, where it goes, and what is refused: names that lead out of the
target, links that do, and everything that is neither file, directory nor link. The streams come
from the other side, which is not trusted, whichever side that is. Imports the standard library
alone: a worker's launcher runs this text (`main`) as the instance's user.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

FAILED = 1
BUFFER = 1 << 16


class Refused(Exception):
    """What cannot be packed or is not unpacked, and why."""


def inside(top: Path, given: str) -> Path:
    """The path `given` below `top`, whether it begins with a slash or not; raises Refused.

    Links on the way may not lead out of `top`.
    """
    parts = [part for part in given.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused(f"{given}: it has .. in it")
    path = top.joinpath(*parts)
    real = Path(os.path.realpath(path))
    if not _below(real, Path(os.path.realpath(top))):
        raise Refused(f"{given}: it leads out of the instance's directory")
    return path


def pack(source: Path, stream: IO[bytes], told: Callable[[int], None] | None = None) -> None:
    """Write `source` as a tar whose one top entry has its name; raises Refused, OSError.

    Sockets, pipes and devices are left out. `told` hears how many bytes each file has.
    """
    top = Path(os.path.realpath(source))
    name = source.name or top.name
    if not name:
        raise Refused("the whole file system is not copied")
    kind = os.lstat(top).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise Refused(f"{source}: neither a file nor a directory")
    with tarfile.open(fileobj=stream, mode="w|", bufsize=BUFFER) as archive:
        for path in _walk(top):
            _add(archive, path, str(Path(name, os.path.relpath(path, top))), told)


def unpack(stream: IO[bytes], target: Path, told: Callable[[int], None] | None = None) -> None:
    """Take the tar's one top entry in: into `target` where that is a directory, else as `target`.

    Raises Refused, OSError or tarfile.TarError; files that came before the trouble stay.
    """
    top = ""
    links: list[Path] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            parts = _parts(member.name)
            if not top:
                top = parts[0]
                place = target / top if target.is_dir() else target
                if not place.parent.is_dir():
                    raise Refused(f"{place.parent}: there is no such directory")
            if parts[0] != top:
                raise Refused(f"{member.name}: a second entry at the top")
            _take(archive, member, place, parts[1:])
            if member.issym():
                links.append(place.joinpath(*parts[1:]))
            if told is not None and member.isreg():
                told(member.size)
    if not top:
        raise Refused("nothing came")
    _check_links(links, place)


def _walk(top: Path) -> Iterator[Path]:
    yield top
    if top.is_dir():
        for folder, folders, files in os.walk(top):
            folders.sort()
            for name in sorted((*folders, *files)):
                yield Path(folder, name)


def _add(
    archive: tarfile.TarFile, path: Path, name: str, told: Callable[[int], None] | None
) -> None:
    try:
        member = archive.gettarinfo(path, os.path.normpath(name))
    except FileNotFoundError:  # it went meanwhile
        return
    if member is None or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return
    if member.islnk():  # the same file under another name: its content once more
        member.type, member.linkname = tarfile.REGTYPE, ""
        member.size = path.stat().st_size
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode &= 0o777
    if not member.isreg():
        archive.addfile(member)
        return
    with path.open("rb") as content:
        # A file that grows or shrinks meanwhile still has the length that was announced.
        archive.addfile(member, _Exactly(content, member.size))
    if told is not None:
        told(member.size)


class _Exactly:
    """A file of exactly this many bytes; zeros where there are fewer."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content = content
        self._left = size

    def read(self, size: int = BUFFER) -> bytes:
        """Up to `size` bytes."""
        size = min(size, self._left)
        data = self._content.read(size)
        self._left -= size
        return data + b"\0" * (size - len(data))


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        raise Refused(f"{name}: it leads out of the target")
    return parts


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path, below: list[str]) -> None:
    path = place.joinpath(*below)
    _no_links_between(place, path, member.name)
    mode = member.mode & 0o777
    if member.isdir():
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise Refused(f"{path}: it is there, and no directory")
        path.mkdir(exist_ok=True)
        path.chmod(mode | 0o700)
    elif member.issym():
        _link(member, path, below)
    elif member.isreg():
        content = archive.extractfile(member)
        if content is None:
            raise Refused(f"{member.name}: it has no content")
        _write(content, path, mode)
    else:
        raise Refused(f"{member.name}: neither a file, a directory nor a symbolic link")


def _no_links_between(place: Path, path: Path, name: str) -> None:
    """What an earlier entry made may not lead a later one elsewhere."""
    top = Path(os.path.realpath(place.parent), place.name)
    if path != place and not _below(Path(os.path.realpath(path.parent)), top):
        raise Refused(f"{name}: a link on the way leads out of the target")


def _link(member: tarfile.TarInfo, path: Path, below: list[str]) -> None:
    depth = lowest = len(below) - 1
    for part in member.linkname.split("/"):
        depth += -1 if part == ".." else int(part not in ("", "."))
        lowest = min(lowest, depth)
    if lowest < 0 or member.linkname.startswith("/"):
        raise Refused(f"{member.name}: a link to {member.linkname}, which is outside")
    if path.is_symlink() or path.is_file():
        path.unlink()
    path.symlink_to(member.linkname)


def _check_links(links: list[Path], place: Path) -> None:
    """By way of other links one may lead out all the same: then it goes again."""
    top = Path(os.path.realpath(place))
    for link in links:
        if link.is_symlink() and not _below(Path(os.path.realpath(link)), top):
            leads_to = link.readlink()
            link.unlink()
            raise Refused(f"{link}: a link to {leads_to}, which is outside")


def _write(content: IO[bytes], path: Path, mode: int) -> None:
    """A file has its name when it is whole; one that runs is replaced, not written into."""
    if path.is_dir():
        raise Refused(f"{path}: it is there, and a directory")
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(partial, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file, BUFFER)
        partial.chmod(mode)
        partial.replace(path)
    except BaseException:
        partial.unlink()
        raise


def _below(path: Path, top: Path) -> bool:
    return path == top or top in path.parents


def main(arguments: list[str]) -> int:
    """`pack PATH` to standard output, `unpack PATH` from standard input; PATH is below here."""
    what, given = arguments
    try:
        path = inside(Path.cwd(), given)
        if what == "pack":
            pack(path, sys.stdout.buffer)
        else:
            unpack(sys.stdin.buffer, path)
    except (Refused, tarfile.TarError) as error:
        sys.stderr.write(f"{error}")
        return FAILED
    except OSError as error:
        sys.stderr.write(f"{error.filename or given}: {error.strerror}")
        return FAILED
    return 0
