"""What pushed images consist of, on its way to Docker: fetched in chunks, verified, let go.

Belongs here: files named by their sha256, and `.fetch-<sha256>` for what has arrived so far; a
later agent goes on from there. Docker's own store keeps the layers: a blob stays only until the
image that it came for is loaded. Does not belong here: what is missing (`layers`), loading
(`pushed`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Set
from pathlib import Path

from oakctl.orchestration.worker import fetching
from oakctl.orchestration.worker.fetching import ChunkSource, NotDelivered

BLOCK = 1024 * 1024


class Blobs:
    """Blobs below `directory`; one fetch at a time."""

    def __init__(self, directory: Path, source: ChunkSource) -> None:
        self._directory = directory
        self._source = source
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where it is once it was fetched."""
        return self._directory / sha256

    async def fetch(self, sha256: str, progress: Callable[[int], None]) -> Path:
        """Have it whole and verified; `progress` hears how many bytes are here.

        Raises NotDelivered, OSError.
        """
        path = self.path(sha256)
        if path.exists():  # it was verified before it had this name
            return path
        partial = fetching.partial(self._directory, sha256)
        await fetching.download(self._source, sha256, partial, lambda here, _: progress(here))
        if await asyncio.to_thread(_sha256, partial) != sha256:
            partial.unlink()
            raise NotDelivered("what arrived is damaged; fetching it again")
        partial.replace(path)
        return path

    def keep_only(self, wanted: Set[str]) -> None:
        """Remove blobs, whole or begun, that are not among these."""
        for path in self._directory.iterdir():
            if path.name.rpartition("-")[2] not in wanted:
                path.unlink(missing_ok=True)

    def drop(self, sums: Iterable[str]) -> None:
        """Remove these: they have served."""
        for sha256 in sums:
            self.path(sha256).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
