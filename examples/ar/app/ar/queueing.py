"""A queue for frames: a full one drops its oldest, and what waited too long is not worth it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST = 5  # frames
STALE_S = 0.3


class DropOldest(Generic[T]):
    """Put from one thread, taken by another. Fresh frames matter, old ones do not."""

    def __init__(
        self,
        longest: int = LONGEST,
        stale_s: float = STALE_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.longest, self.stale_s = longest, stale_s
        self.dropped = 0
        self._clock = clock
        self._items: deque[tuple[float, T]] = deque()
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Add the newest; the oldest goes when there are too many."""
        with self._changed:
            self._items.append((self._clock(), item))
            while len(self._items) > self.longest:
                self._items.popleft()
                self.dropped += 1
            self._changed.notify()

    def take(self, timeout_s: float) -> tuple[T, float] | None:
        """The oldest that is not stale, with the seconds it waited; None when none came."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout_s)
            while self._items:
                since, item = self._items.popleft()
                waited = self._clock() - since
                if waited <= self.stale_s:
                    return item, waited
                self.dropped += 1
        return None
