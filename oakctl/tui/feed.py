"""What the root says, kept up to date for all screens at once.

Belongs here: asking once a second, following the timeline, and what is wrong when neither
answers. Does not belong here: a widget.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from oakctl.model.events import Event
from oakctl.tui.root_reader import Connect, look
from oakctl.tui.viewmodels.snapshot import Snapshot

POLL_S = 1.0
MOST_BUSY = 0.25  # of the time; where a look takes long, the next one comes later
FIRST_EVENTS = 500
KEPT_EVENTS = 2000


class Feed:
    """The newest snapshot, the last events, and the fault of the last try."""

    def __init__(self, connect: Connect, clock: Callable[[], float] = time.time) -> None:
        self.connect = connect
        self.clock = clock
        self.snapshot = Snapshot(0.0)
        self.events: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.told = 0  # events so far, also those that are kept no more
        self.fault = ""
        self.changed: Callable[[], None] = lambda: None
        self._after = -FIRST_EVENTS
        self._ask = asyncio.Event()

    def ask_now(self) -> None:
        """Ask the root again at once instead of within a second."""
        self._ask.set()

    def failed(self, message: str) -> None:
        """Tell of a fault until the root answers again."""
        self.fault = message
        self.changed()

    # Each of the two ends when the root fails it; the app begins it anew, newly connected.

    async def poll(self) -> None:
        """Ask again and again; raises what the root answers with."""
        async with self.connect() as root:
            while True:
                self._ask.clear()
                began = time.monotonic()
                self.snapshot = await look(root, self.clock())
                self.fault = ""
                self.changed()
                pause = max(POLL_S, (time.monotonic() - began) / MOST_BUSY)
                try:
                    async with asyncio.timeout(pause):
                        await self._ask.wait()
                except TimeoutError:
                    continue

    async def follow(self) -> None:
        """Take events as they come; raises what the root answers with."""
        async with self.connect() as root:
            async for event in root.events(self._after, follow=True):
                self._after = event.id
                self.events.append(event)
                self.told += 1

    def since(self, told: int) -> list[Event]:
        """The kept events after the first `told` ones."""
        new = min(self.told - told, len(self.events))
        return list(self.events)[len(self.events) - new :] if new > 0 else []
