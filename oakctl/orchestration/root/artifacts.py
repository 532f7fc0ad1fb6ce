"""Artifacts: kept by the root as files named by their sha256, and sent on to clusters.

Belongs here: taking one in (verified before it is known), and a resumable transfer to one
cluster. Does not belong here: packing (`client.artifact`), which service needs which.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Set
from pathlib import Path

from oakctl import paths
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model import subjects, wire
from oakctl.model.messages import Upload, UploadAnswer
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import records
from oakctl.orchestration.root.store.database import Store

# Half of what a bus message may carry.
PIECE = 512 * 1024
PIECE_TIMEOUT_S = 15.0
SLOWEST_STORE = 2_000_000.0  # bytes a second: the last piece waits for all to be verified and kept
HEX = frozenset("0123456789abcdef")


def is_sha256(text: str) -> bool:
    """Whether `text` is a sha256 in lower-case hex."""
    return len(text) == 64 and HEX.issuperset(text)


def needed_by(spec: ServiceSpec) -> tuple[str, ...]:
    """The sha256 of each artifact and blob of an image that its instances need."""
    return tuple(sha256 for sha256 in spec.blobs if is_sha256(sha256))


class Artifacts:
    """The root's own copies, and which cluster is known to have which."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._there: set[tuple[str, str, str]] = set()  # cluster, its session, sha256
        self._transfers: dict[tuple[str, str], asyncio.Lock] = {}

    @staticmethod
    def directory() -> Path:
        """Where they lie."""
        return paths.private_directory(paths.state_directory() / "artifacts")

    async def has(self, sha256: str) -> bool:
        """Whether it was uploaded to this root."""
        size = await self._store.run(lambda db: records.artifact_size(db, sha256))
        return size is not None and (self.directory() / sha256).exists()

    async def take(self, sha256: str, pieces: AsyncIterator[bytes]) -> int:
        """Store what comes, when it is what it is said to be; returns its size in bytes.

        Raises UsageError when its sha256 is another; then nothing is kept.
        """
        if not is_sha256(sha256):
            raise UsageError(f"{sha256!r} is not a sha256 in lower-case hex")
        temporary = self.directory() / f".{sha256}.{os.getpid()}.{id(pieces)}"
        try:
            digest, size = await self._receive(temporary, pieces)
            if digest != sha256:
                raise UsageError(f"the artifact's sha256 is {digest}, not {sha256}")
            temporary.replace(self.directory() / sha256)
        finally:
            temporary.unlink(missing_ok=True)
        await self._store.run(lambda db: records.add_artifact(db, sha256, size, time.time()))
        return size

    @staticmethod
    async def _receive(temporary: Path, pieces: AsyncIterator[bytes]) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with temporary.open("wb") as file:
            async for piece in pieces:
                digest.update(piece)
                size += len(piece)
                await asyncio.to_thread(file.write, piece)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        return digest.hexdigest(), size

    async def sweep(self) -> None:
        """At the start: files that the store does not know, which an earlier root did not finish
        taking in or deleting."""
        known = await self._store.run(records.artifacts)
        await self.forget({file.name for file in self.directory().iterdir()} - known)

    async def forget(self, sums: Set[str]) -> None:
        """Delete the files of artifacts that the store has forgotten."""
        for sha256 in sorted(sums):
            file = self.directory() / sha256
            await asyncio.to_thread(file.unlink, missing_ok=True)

    async def send(self, link: Link, sha256: str, progress: Callable[[int, int], None]) -> None:
        """Have it complete in the cluster; goes on where an earlier transfer stopped.

        `progress` is told bytes there and bytes in all. Raises Unreachable, NotFound when this
        root has no such artifact, OakError with what the cluster says.
        """
        session = link.state.session if link.state is not None else ""
        mark = (link.name, session, sha256)
        async with self._transfers.setdefault((link.name, sha256), asyncio.Lock()):
            if mark in self._there:
                return
            file = self.directory() / sha256
            if not file.exists():
                raise NotFound(
                    f"artifact {sha256[:12]} was not uploaded to this root",
                    hint="oakctl app apply -f FILE uploads what FILE refers to",
                )
            await self._transfer(link, file, progress)
            self._there.add(mark)

    async def _transfer(self, link: Link, file: Path, progress: Callable[[int, int], None]) -> None:
        size = file.stat().st_size
        offset = await self._piece(link, Upload(file.name, size, 0), b"")
        with file.open("rb") as opened:
            while offset < size:
                opened.seek(offset)
                piece = await asyncio.to_thread(opened.read, PIECE)
                last = offset + len(piece) >= size
                timeout_s = PIECE_TIMEOUT_S + (size / SLOWEST_STORE if last else 0.0)
                reached = await self._piece(link, Upload(file.name, size, offset), piece, timeout_s)
                if reached == offset:
                    raise OakError(f"cluster {link.name} took no byte of artifact {file.name[:12]}")
                offset = reached
                progress(min(offset, size), size)

    @staticmethod
    async def _piece(
        link: Link, upload: Upload, body: bytes, timeout_s: float = PIECE_TIMEOUT_S
    ) -> int:
        headers = {subjects.HEADER_UPLOAD: wire.encode(upload).decode()}
        answer = await link.send_bytes(subjects.CTL_UPLOAD, body, headers, UploadAnswer, timeout_s)
        if answer.error:
            raise OakError(f"cluster {link.name}, artifact {upload.sha256[:12]}: {answer.error}")
        return answer.next_offset
