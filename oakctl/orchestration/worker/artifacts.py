"""Artifacts on this node: fetched in chunks, verified, unpacked, shared, removed when unused.

Belongs here: `artifacts/<sha256>` and what leads to it. A directory with that name is whole:
it appears by one rename. Does not belong here: their way here (`fetching`), or bytes becoming
files (`unpack`, in a process of its own).

    artifacts/.fetch-<sha256>    what has arrived so far; a later agent goes on from there
    artifacts/.unpack-<n>        being unpacked; worthless after a crash
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from oakctl.orchestration.worker import fetching, storage, unpack
from oakctl.orchestration.worker.fetching import ChunkSource, NotDelivered

log = logging.getLogger("oakctl.worker.artifacts")

FETCHED = 0.7  # of the progress; the rest is verifying and unpacking
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 15.0
KEEP_UNUSED_S = 60.0  # so that a restart of an application does not fetch again

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Status:
    """How far an artifact is: 0 to 1, and what is in the way.

    `signs` grows while work on it goes on, also where its progress does not show that. `unfit`: of
    an image, the platform for which there is none.
    """

    progress: float = 0.0
    problem: str = ""
    signs: int = 0
    unfit: str = ""


class Artifacts:
    """The artifacts below `directory`; `changed` is called when a status changes."""

    def __init__(
        self,
        directory: Path,
        source: ChunkSource,
        unpacker: str,
        changed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._source = source
        self._unpacker = unpacker
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._status: dict[str, Status] = {}
        self._unused_since: dict[str, float] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in directory.glob(".unpack-*"):
            shutil.rmtree(left, ignore_errors=True)
        self._present = {path.name for path in directory.iterdir() if is_sha256(path.name)}

    @property
    def source(self) -> ChunkSource:
        """Where they come from."""
        return self._source

    @property
    def present(self) -> Set[str]:
        """The sha256 sums of the artifacts that are whole."""
        return self._present

    def path(self, sha256: str) -> Path:
        """Where an artifact is, once it is present."""
        return self._directory / sha256

    def status(self, sha256: str) -> Status:
        """How far it is."""
        return Status(1.0) if sha256 in self._present else self._status.get(sha256, Status())

    def fetch(self, sha256: str) -> None:
        """See to it that the artifact comes; does nothing when that is under way."""
        if sha256 in self._present or sha256 in self._tasks:
            return
        if not is_sha256(sha256):
            self._set(sha256, Status(0.0, f"{sha256!r} is not the sha256 of an artifact"))
            return
        task = asyncio.get_running_loop().create_task(self._until_present(sha256))
        self._tasks[sha256] = task
        task.add_done_callback(lambda _: self._tasks.pop(sha256, None))

    def keep_only(self, wanted: Set[str], now: float) -> None:
        """Stop fetching what nobody wants; remove what nobody has wanted for a while."""
        for sha256 in self._tasks.keys() - wanted:
            self._tasks[sha256].cancel()
        for sha256 in self._status.keys() - wanted:
            del self._status[sha256]
        for sha256 in wanted & self._unused_since.keys():
            del self._unused_since[sha256]
        for sha256 in sorted(self._present - wanted):
            if now - self._unused_since.setdefault(sha256, now) >= KEEP_UNUSED_S:
                self._remove(sha256)

    async def close(self) -> None:
        """End what is under way; it is gone on with by the next agent."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _remove(self, sha256: str) -> None:
        # Renamed first: a directory under its sha256 is whole or not there.
        doomed = self._directory / f".unpack-{secrets.token_hex(6)}"
        self._present.discard(sha256)
        self._unused_since.pop(sha256, None)
        try:
            self.path(sha256).rename(doomed)
        except OSError as error:
            log.warning("artifact %s cannot be removed: %s", sha256, storage.in_words(error))
            return
        shutil.rmtree(doomed, ignore_errors=True)
        log.info("artifact %s is not used any more and was removed", sha256)

    def _set(self, sha256: str, status: Status) -> None:
        before = self._status.get(sha256)
        self._status[sha256] = status
        if before is None or before.problem != status.problem or _moved(before, status):
            self._changed()

    async def _until_present(self, sha256: str) -> None:
        delay = FIRST_RETRY_S
        while True:
            try:
                await self._download(sha256)
                await self._unpack(sha256)
            except NotDelivered as error:
                problem = str(error)
            except OSError as error:
                problem = storage.in_words(error)
            else:
                break
            log.warning("artifact %s: %s", sha256, problem)
            self._set(sha256, Status(self.status(sha256).progress, f"artifact: {problem}"))
            await asyncio.sleep(delay)
            delay = min(LONGEST_RETRY_S, delay * 2)
        self._present.add(sha256)
        self._status.pop(sha256, None)
        log.info("artifact %s is here", sha256)
        self._changed()

    def _partial(self, sha256: str) -> Path:
        return fetching.partial(self._directory, sha256)

    async def _download(self, sha256: str) -> None:
        def progress(here: int, size: int) -> None:
            self._set(sha256, Status(FETCHED * (here / size if size else 1.0)))

        await fetching.download(self._source, sha256, self._partial(sha256), progress)

    async def _unpack(self, sha256: str) -> None:
        target = self._directory / f".unpack-{secrets.token_hex(6)}"
        target.mkdir(mode=0o700)
        partial = self._partial(sha256)
        try:
            code, words = await self._run_unpacker(sha256, partial, target)
            if code == unpack.DAMAGED or code == unpack.REFUSED:
                partial.unlink(missing_ok=True)
                raise NotDelivered(f"what arrived is damaged ({words}); fetching it again")
            if code != 0:
                raise NotDelivered(f"cannot be unpacked: {words or f'exit code {code}'}")
            target.rename(self.path(sha256))
            partial.unlink(missing_ok=True)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    async def _run_unpacker(self, sha256: str, partial: Path, target: Path) -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", self._unpacker, str(partial), sha256, str(target)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            while line := await child.stdout.readline():
                share = float(line)
                self._set(sha256, Status(FETCHED + (1.0 - FETCHED) * share))
            words = (await child.stderr.read()).decode(errors="replace").strip()
            return await child.wait(), (words.splitlines() or [""])[-1][:300]
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()


def is_sha256(text: str) -> bool:
    """Whether this is a sha256 in hexadecimal; only such a text becomes a path."""
    return _SHA256.fullmatch(text) is not None


def _moved(before: Status, after: Status) -> bool:
    return int(before.progress * 20) != int(after.progress * 20)
