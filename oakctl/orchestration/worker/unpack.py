"""Verifies and unpacks an artifact: `python3 -I -S unpack.py FILE SHA256 DIRECTORY`.

Belongs here: the one place where bytes of strangers become files. It runs in a process of its
own, outside the archive, so that the agent neither waits for it nor pays for its memory.
Imports the standard library alone. Exit codes: 0 done, 3 damaged, 4 refused, 5 not possible
here; standard error says why.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import sys
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

DAMAGED = 3
REFUSED = 4
IMPOSSIBLE = 5
LARGEST_UNPACKED = 8 << 30  # bytes
MOST_MEMBERS = 200_000


def digest(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            sha.update(piece)
    return sha.hexdigest()


def unpack(path: Path, directory: str, report: Callable[[float], None]) -> None:
    """All members, below `directory`; raises tarfile.TarError for what points outside of it.

    `report` is told how far it has come, 0 to 1.
    """
    total = count = 0
    with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:gz") as archive:
        size = path.stat().st_size
        while (member := archive.next()) is not None:
            total, count = total + member.size, count + 1
            if total > LARGEST_UNPACKED or count > MOST_MEMBERS:
                raise tarfile.TarError("more than 8 GiB or 200000 files")
            _extract(archive, member, directory)
            report(raw.tell() / size)


def check_member(member: tarfile.TarInfo) -> None:
    """Raises tarfile.TarError when unpacking this member could reach outside of its directory.

    Where Python has its own filter (3.10.12, 3.11.4 and newer), that one decides. Before it (as
    on Debian 12), only files and directories with plain relative names pass: without any link
    there is no way out.
    """
    if hasattr(tarfile, "data_filter"):
        tarfile.data_filter(member, "/nowhere")
        return
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts:
        raise tarfile.TarError(f"{member.name!r} would be unpacked outside of its directory")
    if not (member.isfile() or member.isdir()):
        raise tarfile.TarError(
            f"{member.name!r} is a link or a device; Python 3.11.4 or newer unpacks links safely"
        )


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, directory: str) -> None:
    check_member(member)
    # Whoever may enter the directory of artifacts may read: instances are users of their own.
    member.mode |= 0o444 | (0o111 if member.mode & 0o100 else 0)
    if hasattr(tarfile, "data_filter"):
        archive.extract(member, directory, filter="data")
        return
    # What the filter does besides: nobody's ownership, no set-uid, writable by the owner alone.
    member.mode = (member.mode & 0o755) | 0o600
    if member.isdir():
        member.mode |= 0o111
    member.uid = member.gid = -1
    member.uname = member.gname = ""
    archive.extract(member, directory)


def print_progress(last: list[float], share: float) -> None:
    """One line for each twentieth."""
    if share >= last[0] + 0.05:
        last[0] = share
        sys.stdout.write(f"{share:.3f}\n")
        sys.stdout.flush()


def main(path: str, sha256: str, directory: str) -> int:
    """Returns the exit code."""
    try:
        found = digest(Path(path))
        if found != sha256:
            sys.stderr.write(f"its sha256 is {found[:12]}…, not {sha256[:12]}…\n")
            return DAMAGED
        unpack(Path(path), directory, functools.partial(print_progress, [0.0]))
        Path(directory).chmod(0o755)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        sys.stderr.write("no space left on this node\n" if full else f"{error}\n")
        return IMPOSSIBLE
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(*sys.argv[1:4]))
