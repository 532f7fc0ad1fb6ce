"""Small files of ours: written whole or not at all, and read back without surprises.

Belongs here: atomic replacement, and telling a full disk in words. Does not belong here: what
the files mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TypeVar

from oakctl.model import wire

T = TypeVar("T")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """`path` has either its old content or this one, also after a crash of this process."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_message(path: Path, kind: type[T]) -> T | None:
    """The `kind` stored in `path`; None when there is none or it is damaged."""
    try:
        return wire.decode(path.read_bytes(), kind)
    except (FileNotFoundError, wire.Malformed):
        return None


def in_words(error: OSError) -> str:
    """What went wrong with a file, for people: what, where, and why."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        return f"no space left on this node{where}"
    return f"{error.strerror or error}{where}"
