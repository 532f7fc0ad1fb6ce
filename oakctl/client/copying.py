"""Files and directories from this machine into an instance, and back.

Belongs here: packing and unpacking in a thread beside the session that carries the tar. Does not
belong here: what a tar may hold (`orchestration.copying`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import tarfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from oakctl.client.sessions import ClientSession, SessionsClient
from oakctl.errors import NotFound, OakError, Unreachable, UsageError
from oakctl.model import sessions
from oakctl.model.sessions import Closed, Data, Ended, SessionRequest
from oakctl.orchestration import copying

T = TypeVar("T")
LONGEST_REASON = 2000  # bytes
LAST_WORD_S = 5.0  # of the other side, after it has stopped to take what is sent


async def into(
    client: SessionsClient, source: Path, instance: str, path: str, told: Callable[[int], None]
) -> int:
    """Copy a file or directory into an instance; `told` hears the bytes of the stream so far.

    Returns how many there were. Raises NotFound, UsageError, or what the worker says.
    """
    if not source.exists():
        raise NotFound(f"{source}: there is no such file or directory", hint=f"ls {source.parent}")
    request = SessionRequest(instance, sessions.COPY_IN, path=path or ".", stdin=True)
    async with client.open(request) as session:
        last = asyncio.create_task(_last_of(session))
        stream = _Sink(asyncio.get_running_loop(), session.write, told)
        try:
            try:
                await asyncio.to_thread(copying.pack, source, cast(IO[bytes], stream))
                await session.close_input()
            except Unreachable:
                # It ended before it had all: then it said why.
                done, _ = await asyncio.wait({last}, timeout=LAST_WORD_S)
                if not done:
                    raise
            except copying.Refused as error:
                raise UsageError(str(error)) from error
            _check(await last, f"{instance}:{path}")
        finally:
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)
    return stream.size


async def out_of(
    client: SessionsClient, instance: str, path: str, target: Path, told: Callable[[int], None]
) -> int:
    """Copy a file or directory of an instance to this machine; returns the bytes of the stream.

    Raises OakError for what cannot be read there, or was refused here.
    """
    request = SessionRequest(instance, sessions.COPY_OUT, path=path or ".")
    async with client.open(request) as session:
        stream = _Source(asyncio.get_running_loop(), session, told)
        trouble: Exception | None = None
        try:
            await asyncio.to_thread(copying.unpack, cast(IO[bytes], stream), target)
        except (copying.Refused, tarfile.TarError) as error:
            trouble = error
        if not isinstance(trouble, copying.Refused):  # then the rest is of no interest
            await stream.drain()
            _check((stream.last or Ended(), stream.words), f"{instance}:{path}")
        if trouble is not None:
            raise OakError(f"{instance}:{path} was not copied: {trouble}") from trouble
    return stream.size


def size_of(source: Path) -> int:
    """Bytes of the files that `source` is or holds, as far as they can be seen."""
    if not source.is_dir():
        return source.stat().st_size
    return sum(path.lstat().st_size for path in source.rglob("*") if path.is_file())


def _check(last: tuple[Ended, bytes], what: str) -> None:
    ended, words = last
    if ended.code == 0 and not ended.error:
        return
    said = ended.error or words.decode(errors="replace").strip() or f"it ended with {ended.code}"
    raise OakError(f"{what}: {said}", hint=ended.hint)


async def _last_of(session: ClientSession) -> tuple[Ended, bytes]:
    words = b""
    while True:
        event = await session.read()
        if isinstance(event, Ended):
            return event, words
        if isinstance(event, Data) and len(words) < LONGEST_REASON:
            words += event.data


class _Thread:
    """Lets a thread wait for what the event loop does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: Callable[[int], None]) -> None:
        self._loop = loop
        self._told = told
        self.size = 0

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result; raises what it raises, InterruptedError when the call is given up."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except (concurrent.futures.CancelledError, RuntimeError) as error:
            raise InterruptedError("given up") from error

    def count(self, size: int) -> None:
        """So many more bytes."""
        self.size += size
        self._told(self.size)


class _Sink(_Thread):
    """What is written goes into the session."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[bytes], Coroutine[Any, Any, None]],
        told: Callable[[int], None],
    ) -> None:
        super().__init__(loop, told)
        self._send = send

    def write(self, data: bytes) -> int:
        """Send all of it."""
        self.wait_for(self._send(bytes(data)))
        self.count(len(data))
        return len(data)


class _Source(_Thread):
    """What is read comes from the session."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: ClientSession, told: Callable[[int], None]
    ) -> None:
        super().__init__(loop, told)
        self._session = session
        self._rest = b""
        self.last: Ended | None = None
        self.words = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, at least one; empty at the end."""
        if not self._rest:
            self._rest = self.wait_for(self._more())
            self.count(len(self._rest))
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def drain(self) -> None:
        """Read to the last word."""
        while self.last is None:
            await self._more()

    async def _more(self) -> bytes:
        while self.last is None:
            event = await self._session.read()
            if isinstance(event, Ended):
                self.last = event
            elif isinstance(event, Data) and event.channel == sessions.STDOUT:
                return event.data
            elif isinstance(event, Data) and len(self.words) < LONGEST_REASON:
                self.words += event.data
            elif isinstance(event, Closed):
                continue
        return b""
