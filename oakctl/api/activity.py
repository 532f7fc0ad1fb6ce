"""Whether somebody uses this root: requests under way, and when the last one ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Activity:
    """Counts requests; streams that are being read count too."""

    def __init__(self) -> None:
        self._open = 0
        self._last = time.monotonic()

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request, from its first byte to its last."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last = time.monotonic()

    @property
    def quiet_s(self) -> float:
        """Seconds without any request; 0 while there is one."""
        return 0.0 if self._open else time.monotonic() - self._last
