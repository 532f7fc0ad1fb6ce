"""Passwords for sudo, passphrases of keys: in this process's memory for a while, nowhere else.

Belongs here: keeping and forgetting them. Does not belong here: using them (`root.installer`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

KEPT_S = 900.0  # since it was last used


class Passwords:
    """Host → password, or key file → passphrase. For several threads; never printed or stored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[str, float]] = {}

    def __repr__(self) -> str:
        return "Passwords(…)"

    def give(self, host: str, password: str) -> None:
        """Remember it; an empty one forgets."""
        with self._lock:
            self._kept.pop(host, None)
            if password:
                self._kept[host] = (password, self._clock())

    def of(self, host: str) -> str:
        """The host's password; empty without one, or when it has not been used for long."""
        with self._lock:
            now = self._clock()
            self._kept = {n: kept for n, kept in self._kept.items() if now - kept[1] < KEPT_S}
            if host not in self._kept:
                return ""
            password, _ = self._kept[host]
            self._kept[host] = (password, now)
            return password

    def forget(self, host: str) -> None:
        """For one that was wrong, and for a host that is forgotten."""
        self.give(host, "")

    def kept(self) -> Callable[[str], str]:
        """As `of`, for a link that stands for weeks: what it has used once stays known to it, so
        that it comes back by itself after the link was lost."""
        held: dict[str, str] = {}

        def of(name: str) -> str:
            held[name] = self.of(name) or held.get(name, "")
            return held[name]

        return of
