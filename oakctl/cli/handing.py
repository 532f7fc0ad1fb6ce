"""Files that are handed to other people and hold secrets: written for this user alone.

Belongs here: writing one, whole or not at all. Does not belong here: what is in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from oakctl.errors import Conflict


def write(target: Path, content: bytes, *, hint: str) -> None:
    """`content` as a file of mode 0600; raises Conflict, with `hint`, where that cannot be."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.replace(target)
    except OSError as error:
        raise Conflict(f"{target} can't be written: {error.strerror}", hint=hint) from error
