"""Memory and CPU of our own processes on the cluster's host, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from oakctl.model.messages import ProcessUse

_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TIME, _SYSTEM_TIME = 11, 12  # fields of /proc/PID/stat after the name in brackets
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class ProcessMeter:
    """CPU is what was used since the last look."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}  # pid → (mono, CPU seconds)

    def look(self, pids: Mapping[str, int | None], mono: float) -> dict[str, ProcessUse]:
        """Name → use of each process that is there."""
        found = {}
        for name, pid in pids.items():
            use = self._use(pid, mono) if pid is not None else None
            if use is not None:
                found[name] = use
        gone = self._last.keys() - {pid for pid in pids.values() if pid is not None}
        for pid in gone:
            del self._last[pid]
        return found

    def _use(self, pid: int, mono: float) -> ProcessUse | None:
        try:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
            # The name may contain anything, brackets too: count from the last one.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError, ValueError):
            return None
        used = (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS
        before_mono, before_used = self._last.get(pid, (mono, used))
        self._last[pid] = (mono, used)
        passed = mono - before_mono
        percent = 100 * (used - before_used) / passed if passed > 0 else 0.0
        return ProcessUse(round(resident, 2), round(max(0.0, percent), 2))
