"""Bytes on their way from the cluster to this node: in chunks, gone on with where they ended.

Belongs here: one download into one file. Does not belong here: what the bytes are and whether they
are the right ones (`artifacts`, `docker.blobs`), or the bus (`ChunkSource` is all that is asked of
it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK = 512 * 1024  # bytes
FETCHING = ".fetch-"  # before a sha256: what has arrived of it so far


class NotDelivered(Exception):
    """A piece did not come; the text says why."""


@dataclass(frozen=True)
class Chunk:
    """Bytes of a blob, and how many it has in all."""

    data: bytes
    size: int


class ChunkSource(Protocol):
    """Where blobs come from."""

    async def chunk(self, sha256: str, offset: int, length: int) -> Chunk:
        """Raises NotDelivered."""


def partial(directory: Path, sha256: str) -> Path:
    """Where a blob is while it comes."""
    return directory / f"{FETCHING}{sha256}"


async def download(
    source: ChunkSource, sha256: str, target: Path, progress: Callable[[int, int], None]
) -> None:
    """Bring `target` to its whole length; `progress` hears (bytes here, bytes in all).

    What is in the file already is not asked for again, except where it is more than there is.
    Raises NotDelivered, OSError.
    """
    with target.open("ab") as file:
        offset = file.tell()
        while True:
            chunk = await source.chunk(sha256, offset, CHUNK)
            if offset > chunk.size:
                file.truncate(0)
                offset = 0
                continue
            file.write(chunk.data)
            file.flush()
            offset += len(chunk.data)
            progress(offset, chunk.size)
            if offset >= chunk.size:
                return
            if not chunk.data:
                raise NotDelivered(f"the cluster sends nothing from byte {offset} on")
