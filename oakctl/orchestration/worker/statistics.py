"""What instances use: CPU and memory of their processes, between two looks.

Belongs here: sums over the processes of an instance. Does not belong here: the node's own usage
(`usage`).
"""

from __future__ import annotations

from collections.abc import Mapping

from oakctl.model.instance import InstanceStatistics
from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import Runtimes

SCAN_EVERY = 5  # looks: finding an instance's processes costs more than reading them


class StatisticsMeter:
    """Statistics of the running instances."""

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes
        self._looks = 0
        self._members: dict[tuple[str, int], set[int]] = {}
        self._cpu: dict[str, tuple[float, dict[int, float]]] = {}

    def look(
        self, running: Mapping[str, Record], metrics: Mapping[str, dict[str, float]], now: float
    ) -> tuple[InstanceStatistics, ...]:
        """One entry per running instance; CPU since the look before."""
        self._find(running)
        self._cpu = {name: seen for name, seen in self._cpu.items() if name in running}
        return tuple(
            self._of(known, metrics.get(name, {}), now) for name, known in sorted(running.items())
        )

    def _find(self, running: Mapping[str, Record]) -> None:
        keys = {(name, known.attempt) for name, known in running.items()}
        if keys - self._members.keys() or (keys and self._looks % SCAN_EVERY == 0):
            everyone = procfs.all_stats()
            self._members = {
                (name, known.attempt): self._runtimes.of(known.desired).members(known, everyone)
                for name, known in running.items()
            }
        else:
            self._members = {key: self._members[key] for key in keys}
        self._looks += 1

    def _of(self, known: Record, metrics: dict[str, float], now: float) -> InstanceStatistics:
        pids = self._members[(known.name, known.attempt)]
        stats = [stat for stat in map(procfs.stat_of, pids) if stat is not None]
        used = {stat.pid: stat.cpu_s for stat in stats}
        at, before = self._cpu.get(known.name, (now, used))
        self._cpu[known.name] = (now, used)
        # A process that is new since the last look has used all its time since then.
        seconds = sum(cpu - before.get(pid, 0.0) for pid, cpu in used.items())
        return InstanceStatistics(
            job_name=known.desired.service.job_name,
            number=known.desired.number,
            at=now,
            cpu_percent=round(max(0.0, 100.0 * seconds / (now - at)), 1) if now > at else 0.0,
            memory_mb=round(sum(stat.rss_mb for stat in stats), 1),
            metrics=metrics,
        )
