"""Verifies and unpacks an artifact: `python3 -I -S unpack.py FILE SHA256 DIRECTORY`.

Belongs here: the one place where bytes of strangers become files. It runs in a process of its
own, outside the archive, so that the agent neither waits for it nor pays for its memory.
Imports the standard library alone. Exit codes: 0 done, 3 damaged, 4 refused, 5 not possible
here; standard error says why.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zlib

DAMAGED = 3
REFUSED = 4
IMPOSSIBLE = 5
LARGEST_UNPACKED = 8 << 30  # bytes
MOST_MEMBERS = 200_000


def digest(path: str) -> str:
    """The file's sha256 in hexadecimal."""
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            sha.update(piece)
    return sha.hexdigest()


def unpack(path: str, directory: str) -> None:
    """All members, below `directory`; raises tarfile.TarError for what points outside of it."""
    total = count = 0
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            total, count = total + member.size, count + 1
            if total > LARGEST_UNPACKED or count > MOST_MEMBERS:
                raise tarfile.TarError("more than 8 GiB or 200000 files")
            archive.extract(member, directory, filter="data")
            archive.members = []  # otherwise every member seen stays in memory


def main(path: str, sha256: str, directory: str) -> int:
    """Returns the exit code."""
    if not hasattr(tarfile, "data_filter"):
        version = ".".join(str(part) for part in sys.version_info[:3])
        sys.stderr.write(f"Python {version} cannot unpack safely; 3.10.12, 3.11.4 or newer can\n")
        return IMPOSSIBLE
    try:
        found = digest(path)
        if found != sha256:
            sys.stderr.write(f"its sha256 is {found[:12]}…, not {sha256[:12]}…\n")
            return DAMAGED
        unpack(path, directory)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        return IMPOSSIBLE
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
