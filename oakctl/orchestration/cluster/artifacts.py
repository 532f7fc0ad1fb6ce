"""Artifacts: taken in pieces from the root, kept in the object store, served to workers.

Belongs here: staging, verification, the file cache that chunks are read from. An artifact is
complete when its sha256 was verified and the object store has it; the cache is refilled from
there. Does not belong here: which worker needs which (`desired`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
from pathlib import Path

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError as NothingThere
from nats.js.object_store import ObjectStore

from oakctl.errors import NotFound, OakError
from oakctl.model import subjects
from oakctl.model.messages import Upload, UploadAnswer

log = logging.getLogger("oakctl.cluster.artifacts")

REFILL_TIMEOUT_S = 300.0
LONGEST_CHUNK = 1024 * 1024  # bytes in one answer
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1024 * 1024


class Artifacts:
    """The cluster's artifacts, by sha256."""

    def __init__(self, directory: Path) -> None:
        self._cache = directory / "cache"
        self._staging = directory / "staging"
        for folder in (self._cache, self._staging):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._locks: dict[str, asyncio.Lock] = {}
        self._objects: ObjectStore | None = None

    async def open(self, client: Client) -> None:
        """Make the object store where it is missing; raises NatsError."""
        js = client.jetstream(timeout=10)
        self._objects = await js.create_object_store(subjects.OBJECTS_ARTIFACTS)

    async def take(self, piece: Upload, body: bytes) -> UploadAnswer:
        """Add a piece; says where to go on, and `piece.size` only when it is complete.

        A piece that does not begin where the staged bytes end changes nothing.
        """
        if not _SHA256.fullmatch(piece.sha256) or piece.size <= 0:
            return UploadAnswer(0, "an upload needs a sha256 in hex and a size above 0")
        async with self._lock(piece.sha256):
            try:
                return await self._take(piece, body)
            except OSError as error:
                return UploadAnswer(self._staged(piece.sha256), f"can't be stored here: {error}")

    async def chunk(self, sha256: str, offset: int, length: int) -> tuple[bytes, int]:
        """Bytes from `offset`, and the artifact's size; raises NotFound, OakError."""
        if not _SHA256.fullmatch(sha256) or offset < 0 or length < 0:
            raise NotFound(f"{sha256!r} is no artifact")
        path = await self._cached(sha256)
        return await asyncio.to_thread(_read, path, offset, min(length, LONGEST_CHUNK))

    def _lock(self, sha256: str) -> asyncio.Lock:
        return self._locks.setdefault(sha256, asyncio.Lock())

    def _path(self, sha256: str) -> Path:
        return self._staging / sha256

    def _staged(self, sha256: str) -> int:
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    async def _take(self, piece: Upload, body: bytes) -> UploadAnswer:
        if await self._is_complete(piece.sha256):
            return UploadAnswer(piece.size)
        staged = self._staged(piece.sha256)
        if body and piece.offset == staged:
            if staged + len(body) > piece.size:
                return UploadAnswer(staged, "more bytes than the upload's size")
            await asyncio.to_thread(_append, self._path(piece.sha256), body)
            staged += len(body)
        if staged < piece.size:
            return UploadAnswer(staged)
        return await self._finish(piece)

    async def _finish(self, piece: Upload) -> UploadAnswer:
        path = self._path(piece.sha256)
        digest = await asyncio.to_thread(_digest, path)
        if digest != piece.sha256:
            path.unlink()
            return UploadAnswer(0, f"its sha256 is {digest[:12]}…, not {piece.sha256[:12]}…")
        assert self._objects is not None, "open() comes first"
        try:
            with path.open("rb") as file:
                await self._objects.put(piece.sha256, file)
        except (NatsError, asyncio.TimeoutError) as error:
            return UploadAnswer(0, f"the object store does not take it: {error!r}")
        path.replace(self._cache / piece.sha256)
        log.info("artifact %s is complete (%d bytes)", piece.sha256[:12], piece.size)
        return UploadAnswer(piece.size)

    async def _is_complete(self, sha256: str) -> bool:
        assert self._objects is not None, "open() comes first"
        try:
            await self._objects.get_info(sha256)
        except NothingThere:
            return False
        return True

    async def _cached(self, sha256: str) -> Path:
        path = self._cache / sha256
        if path.exists():
            return path
        async with self._lock(sha256):
            if not path.exists():
                await self._refill(sha256, path)
        return path

    async def _refill(self, sha256: str, path: Path) -> None:
        assert self._objects is not None, "open() comes first"
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                got = self._objects.get(sha256, writeinto=file)
                await asyncio.wait_for(got, REFILL_TIMEOUT_S)
            if await asyncio.to_thread(_digest, temporary) != sha256:
                raise OakError(f"artifact {sha256[:12]}… is damaged in the object store")
            temporary.replace(path)
        except NothingThere as error:
            raise NotFound(f"artifact {sha256[:12]}… is not in this cluster") from error
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            raise OakError(f"artifact {sha256[:12]}… can't be read: {error!r}") from error
        finally:
            temporary.unlink(missing_ok=True)


def _append(path: Path, body: bytes) -> None:
    with path.open("ab") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path, offset: int, length: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        return file.read(length), size
