"""Wakes the agent when a process ends, where the kernel can tell.

Belongs here: pid descriptors (Linux 5.3). Does not belong here: what ended and why. Without
them the agent's regular pass finds out a little later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Set


class Exits:
    """Calls `ended` once for each watched process that ends."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._descriptors: dict[int, int] = {}

    def watch(self, pids: Set[int]) -> None:
        """Watch exactly these; they need not be children."""
        for pid in self._descriptors.keys() - pids:
            self._leave(pid)
        for pid in pids - self._descriptors.keys():
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                self._descriptors[pid] = descriptor
                asyncio.get_running_loop().add_reader(descriptor, self._on_end, pid)

    def close(self) -> None:
        """Watch nothing any more."""
        self.watch(set())

    def _on_end(self, pid: int) -> None:
        self._leave(pid)
        self._ended()

    def _leave(self, pid: int) -> None:
        descriptor = self._descriptors.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
