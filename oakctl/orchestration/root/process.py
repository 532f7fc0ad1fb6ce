"""What this process itself uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


class Use:
    """Resident memory now, and CPU since the sample before."""

    def __init__(self) -> None:
        self.cpu_percent = 0.0  # of one core
        self._at, self._cpu = time.monotonic(), time.process_time()

    def sample(self) -> None:
        """Measure CPU since the last call."""
        at, cpu = time.monotonic(), time.process_time()
        if at > self._at:
            self.cpu_percent = 100 * (cpu - self._cpu) / (at - self._at)
        self._at, self._cpu = at, cpu

    @property
    def rss_mb(self) -> float:
        """MiB resident."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * PAGE / 2**20
