"""What this node uses now, from /proc: cheap enough for every heartbeat.

Belongs here: differences between two looks at counters. Does not belong here: what instances
use (`statistics`).
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass

from oakctl.model.node import Usage
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.facts import memory_kib


@dataclass(frozen=True)
class Look:
    """Counters at one time."""

    at: float  # seconds, monotonic
    busy: int  # ticks of all cores
    total: int
    own_cpu_s: float = 0.0
    relay_cpu_s: float = 0.0


def cpu_ticks(stat: str) -> tuple[int, int]:
    """(busy, total) of the first line of /proc/stat."""
    values = [int(value) for value in stat.split("\n", 1)[0].split()[1:9]]
    idle = values[3] + values[4]
    return sum(values) - idle, sum(values)


def percent(part: float, whole: float) -> float:
    """Between 0 and 100, one decimal; 0 of nothing."""
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 1) if whole > 0 else 0.0


class UsageMeter:
    """Usage since the last look. `prefix` lies on the file system that holds artifacts."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._last: Look | None = None

    def look(self, relay_pid: int | None) -> Usage:
        """What is used now, of this node, by the agent and by its relay (None: there is none)."""
        own = procfs.stat_of(os.getpid())
        relay = procfs.stat_of(relay_pid) if relay_pid else None
        busy, total = cpu_ticks((procfs.PROC / "stat").read_text())
        now = Look(
            at=time.monotonic(),
            busy=busy,
            total=total,
            own_cpu_s=own.cpu_s if own else 0.0,
            relay_cpu_s=relay.cpu_s if relay else 0.0,
        )
        last, self._last = self._last or now, now
        meminfo = (procfs.PROC / "meminfo").read_text()
        memory = memory_kib(meminfo, "MemTotal")
        used = memory - memory_kib(meminfo, "MemAvailable")
        elapsed = now.at - last.at
        return Usage(
            cpu_percent=percent(now.busy - last.busy, now.total - last.total),
            memory_percent=percent(used, memory),
            memory_used_mb=used // 1024,
            disk_free_mb=shutil.disk_usage(self._prefix).free // procfs.MIB,
            agent_rss_mb=round(own.rss_mb, 1) if own else 0.0,
            agent_cpu_percent=percent(now.own_cpu_s - last.own_cpu_s, elapsed),
            relay_rss_mb=round(relay.rss_mb, 1) if relay else 0.0,
            relay_cpu_percent=percent(now.relay_cpu_s - last.relay_cpu_s, elapsed),
        )
