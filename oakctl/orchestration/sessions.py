"""One end of a session on the bus: reads and writes that wait for the other side.

Belongs here: what the root and a worker do alike with `model.sessions`: windows, order, signs of
life, the end. Does not belong here: subjects, or what the bytes mean. Every wait ends: the other
side is taken for dead after `SILENCE_S` seconds without a word.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from oakctl.model import sessions
from oakctl.model.sessions import PIECE, Broken, Closed, Data, Ended, Event, Flow, Resized

CANCEL_AGAIN_S = 0.5
Send = Callable[[bytes], Awaitable[None]]  # raises Broken when a frame cannot be sent


class Session:
    """An end of one session; `other` says in errors who is at the other end.

    Made inside a running event loop; whoever makes it calls `close` at last.
    """

    def __init__(self, send: Send, other: str) -> None:
        self._send = send
        self._other = other
        self._flow = Flow()
        self._events: deque[Event] = deque()
        self._held = 0  # bytes of the event that was read last
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._order = asyncio.Lock()  # frames go out in the order of their numbers
        self._broken = ""
        self._over = False  # nothing more is said or expected
        self._heard_at = self.moved_at = time.monotonic()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    @property
    def has_room(self) -> bool:
        """Whether a write would not have to wait."""
        return self._flow.room > 0

    def take(self, frame: bytes) -> None:
        """A frame came; frames have to be given in the order in which they came."""
        if self._over or self._broken:
            return
        self._heard_at = time.monotonic()
        try:
            event = self._flow.take(frame)
        except Broken as broken:
            self.break_off(str(broken))
            return
        if event is not None:
            self.moved_at = self._heard_at
            self._events.append(event)
            self._news.set()
        self._room.set()

    def break_off(self, words: str) -> None:
        """The session cannot go on: what came is still read, nothing can be written."""
        self._broken = self._broken or words
        self._news.set()
        self._room.set()

    async def read(self) -> Event:
        """The next that came. What was read before counts as consumed now. Raises Broken."""
        await self._consumed()
        while not self._events:
            if self._broken:
                raise Broken(self._broken)
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        self._held = len(event.data) if isinstance(event, Data) else 0
        self._over = self._over or isinstance(event, Ended)
        return event

    async def write(self, channel: int, data: bytes) -> None:
        """Send bytes, as fast as the other side consumes them; raises Broken."""
        view = memoryview(data)
        while view:
            async with self._order:
                size = min(PIECE, len(view), self._flow.room)
                if size > 0:
                    await self._tell(Data(channel, bytes(view[:size])))
            view = view[size:]
            if view and self._flow.room <= 0:
                await self._wait_for_room()

    async def close_channel(self, channel: int) -> None:
        """Say that no more bytes come on it; raises Broken."""
        async with self._order:
            await self._tell(Closed(channel))

    async def resize(self, rows: int, columns: int) -> None:
        """Say that the terminal has another size; raises Broken."""
        async with self._order:
            await self._tell(Resized(rows, columns))

    async def end(self, last: Ended) -> None:
        """Say the last; raises Broken."""
        async with self._order:
            await self._tell(last)
        self._over = True

    async def close(self, words: str = "") -> None:
        """Let go; the other side is told why, unless the last was said."""
        await stop(self._keeper)
        if self._over:
            return
        self._over = True
        try:
            await self._send(sessions.reset(words or self._broken or "the other side went away"))
        except Broken:
            return  # the relay or our silence tells it

    async def _tell(self, event: Event) -> None:
        if self._broken:
            raise Broken(self._broken)
        self.moved_at = time.monotonic()
        try:
            await self._send(self._flow.frame(event))
        except Broken as broken:
            self.break_off(str(broken))
            raise

    async def _wait_for_room(self) -> None:
        while self._flow.room <= 0:
            if self._broken:
                raise Broken(self._broken)
            self._room.clear()
            await self._room.wait()

    async def _consumed(self) -> None:
        size, self._held = self._held, 0
        credit = self._flow.consume(size) if size else None
        if credit is not None and not self._broken:
            await self._signal(credit)

    async def _signal(self, frame: bytes) -> None:
        try:
            await self._send(frame)
        except Broken as broken:
            self.break_off(str(broken))

    async def _keep(self) -> None:
        while not (self._over or self._broken):
            before = time.monotonic()
            await asyncio.sleep(sessions.ALIVE_EVERY_S)
            now = time.monotonic()
            if now - before > 2 * sessions.ALIVE_EVERY_S:
                self._heard_at = now  # we did not run, so we did not hear either
            silent = now - self._heard_at
            if silent > sessions.SILENCE_S:
                self.break_off(f"no word from {self._other} for {silent:.0f} s")
                return
            async with self._order:
                await self._signal(self._flow.alive())


async def alongside(session: Session, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` while the other side says nothing that matters; raises Broken when it goes."""
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(work), loop.create_task(_until_gone(session))}
    try:
        done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
        for one in done:
            await one
    finally:
        await stop(*tasks)


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for` of Python 3.11 and older now and then
    swallows it. Their results are dropped. Not for tasks that take long to put things in order."""
    pending = set(tasks)
    while pending:
        for one in pending:
            one.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    for one in tasks:
        if not one.cancelled():
            one.exception()


async def _until_gone(session: Session) -> None:
    while not isinstance(await session.read(), Ended):
        pass
    raise Broken("the other side ended it")
