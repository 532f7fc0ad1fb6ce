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
            archive.extract(member, directory, filter="data")
            report(raw.tell() / size)


def print_progress(last: list[float], share: float) -> None:
    """One line for each twentieth."""
    if share >= last[0] + 0.05:
        last[0] = share
        sys.stdout.write(f"{share:.3f}\n")
        sys.stdout.flush()


def main(path: str, sha256: str, directory: str) -> int:
    """Returns the exit code."""
    if not hasattr(tarfile, "data_filter"):
        version = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(f"Python {version} cannot unpack safely; 3.10.12, 3.11.4 or newer can\n")
        return IMPOSSIBLE
    try:
        found = digest(Path(path))
        if found != sha256:
            sys.stderr.write(f"its sha256 is {found[:12]}…, not {sha256[:12]}…\n")
            return DAMAGED
        unpack(Path(path), directory, functools.partial(print_progress, [0.0]))
    except (tarfile.TarError, zlib.error, EOFError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        sys.stderr.write("no space left on this node\n" if full else f"{error}\n")
        return IMPOSSIBLE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
