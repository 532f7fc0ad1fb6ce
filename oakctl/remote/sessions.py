"""How many sessions a host grants at a time over one connection, learned by being refused.

Belongs here: counting them, and remembering per host, for this process's life, what was granted.
sshd's MaxSessions is 10 by default; some have 2, some only 1. Does not belong here: opening them
(`channels`).
"""

from __future__ import annotations

import threading

MOST = 8  # below sshd's default, so that a lock and somebody's shell have room
RETRY_S = 0.2

_granted: dict[str, int] = {}
_learning = threading.Lock()


class NoneFree(Exception):
    """All sessions were taken until the deadline of the command."""


def granted(host: str) -> int:
    """How many sessions are used at a time on `host`."""
    return _granted.get(host, MOST)


class Sessions:
    """The sessions of one connection to `host`. For several threads at a time."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._changed = threading.Condition()
        self._taken = 0  # open, or about to be
        self._open = 0

    def take(self, timeout_s: float) -> None:
        """Wait for a free one; raises NoneFree. Then `opened` or `was_refused` is to be told."""
        with self._changed:
            if not self._changed.wait_for(self._has_room, timeout_s):
                raise NoneFree
            self._taken += 1

    def opened(self) -> None:
        """The host has granted the one that was taken."""
        with self._changed:
            self._open += 1

    def ended(self) -> None:
        """One that was open is no more."""
        with self._changed:
            self._open -= 1
            self._taken -= 1
            self._changed.notify_all()

    def was_refused(self) -> None:
        """The host has not granted the one that was taken: as many as are open is what it grants.

        Returns when it is worth another try.
        """
        with self._changed:
            self._taken -= 1
            with _learning:
                _granted[self._host] = min(granted(self._host), max(1, self._open))
            self._changed.notify_all()
            self._changed.wait(RETRY_S)

    def lost(self) -> None:
        """The one that was taken will never be open."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._taken < granted(self._host)
