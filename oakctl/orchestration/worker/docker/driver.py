"""The connection to Docker, and the newest picture of our containers.

Belongs here: connecting, again and again; what happens, by Docker's events and a regular look;
telling when Docker comes and goes. Does not belong here: starting and ending containers
(`runtime`). While Docker is away the last picture stays: containers may well go on without it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

from oakctl.orchestration import waits
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.docker.calls import Calls
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway, EngineRefused
from oakctl.orchestration.worker.docker.seen import Key, Seen

log = logging.getLogger("oakctl.worker.docker")

LOOK_EVERY_S = 5.0  # without any event
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
GATHER_S = 0.02  # events that come together lead to one look


class Driver:
    """Docker behind one socket, as far as containers with our prefix go.

    `changed` is called after each look that saw something new, and when Docker comes or goes;
    `before_end` with each container that has ended, before anyone else sees that it has.
    """

    def __init__(self, socket: str, prefix: str, changed: Callable[[], None]) -> None:
        self._socket = socket
        self._prefix = prefix
        self._changed = changed
        self._poke = asyncio.Event()
        self._lost = asyncio.Event()
        self._looking = asyncio.Lock()
        self._states: dict[str, str] = {}
        self._by_id: dict[str, Seen] = {}
        self.before_end: Callable[[Seen], Awaitable[None]] | None = None
        self.calls = Calls()
        self.engine: Engine | None = None
        self.trouble = "Docker has not answered yet"
        self.seen: dict[Key, Seen] = {}
        self.known = False  # a picture was taken since the agent started

    async def run(self) -> None:
        """Connect and watch; ends only by being cancelled."""
        delay = FIRST_RETRY_S
        while True:
            try:
                engine = await self.calls.run(Engine, self._socket, what="connecting")
                self._on_connected(engine)
                await self.look()
                self._changed()
                delay = FIRST_RETRY_S
                await self._watch(engine)
            except EngineAway as error:
                self._on_away(str(error))
            except EngineRefused as error:
                self._on_away(f"Docker at {self._socket}: {error}")
            await asyncio.sleep(delay)
            delay = min(LONGEST_RETRY_S, delay * 2)

    async def look(self) -> None:
        """Take a new picture; raises EngineAway or EngineRefused."""
        async with self._looking:
            engine = self.engine
            if engine is None:
                raise EngineAway(self.trouble)
            states = await self.calls.run(engine.containers, self._prefix, what="listing")
            news = False
            for id_, state in states.items():
                if self._states.get(id_) != state or id_ not in self._by_id:
                    found = await self.calls.run(engine.inspect, id_, what="inspecting")
                    news = await self._take(id_, found) or news
            for id_ in self._by_id.keys() - states.keys():
                news = self._miss(id_) or news
            self._states = states
            self.known = True
        if news:
            self._changed()

    def poke(self) -> None:
        """Something happened: look soon."""
        self._poke.set()

    def doubt(self, why: str) -> None:
        """A call was not answered: as if Docker were away, until it answers again."""
        self._on_away(why)
        self._lost.set()
        self._poke.set()

    def drop(self, id_: str) -> None:
        """We took this container away ourselves."""
        found = self._by_id.pop(id_, None)
        self._states.pop(id_, None)
        if found is not None and found.key is not None and self.seen.get(found.key) == found:
            del self.seen[found.key]

    def ours(self) -> tuple[Seen, ...]:
        """Every container with our label."""
        return tuple(self._by_id.values())

    async def _take(self, id_: str, found: Seen | None) -> bool:
        if found is None:
            return self._miss(id_)
        if found.state in ("exited", "dead") and self.before_end is not None:
            await self.before_end(found)
        # By its start it is told from a stranger with its number, should Docker be away later.
        stat = procfs.stat_of(found.pid) if found.pid else None
        found = replace(found, start=stat.start if stat else 0)
        before, self._by_id[id_] = self._by_id.get(id_), found
        if found.key is not None:
            self.seen[found.key] = found
        return before != found

    def _miss(self, id_: str) -> bool:
        """Somebody else took it away."""
        found = self._by_id.pop(id_, None)
        if found is None or found.key is None or self.seen.get(found.key) != found:
            return False
        if found.lives:
            self.seen[found.key] = found.removed
        else:
            del self.seen[found.key]
        return True

    async def _watch(self, engine: Engine) -> None:
        self._lost.clear()
        loop = asyncio.get_running_loop()
        thread = threading.Thread(
            target=self._follow, args=(engine, loop), name="docker: events", daemon=True
        )
        thread.start()
        while not self._lost.is_set():
            if await waits.set_within(self._poke, LOOK_EVERY_S):
                await asyncio.sleep(GATHER_S)
            self._poke.clear()
            await self.look()

    def _follow(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, as long as the engine lives."""

        def tell(what: asyncio.Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(what.set)

        try:
            for _ in engine.events(self._prefix):
                tell(self._poke)
        except (EngineAway, EngineRefused) as error:
            log.info("Docker's events: %s", error)
        finally:
            tell(self._lost)
            tell(self._poke)

    def _on_connected(self, engine: Engine) -> None:
        self.engine = engine
        self.trouble = ""
        log.info("Docker %s, API %s", engine.facts.version, engine.facts.api)

    def _on_away(self, why: str) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None
        if self.trouble != why:
            self.trouble = why
            log.warning("%s", why)
            self._changed()
