"""Counting and averaging over the last seconds, and Prometheus text of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from time import monotonic

WINDOW_S = 5.0


class Window:
    """Numbers of the last seconds; any thread may add and ask."""

    def __init__(self, seconds: float = WINDOW_S) -> None:
        self.seconds = seconds
        self._values: deque[tuple[float, float]] = deque()
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        """One more, now."""
        with self._lock:
            self._values.append((monotonic(), value))
            self._forget()

    def values(self) -> list[float]:
        """What there is of the last seconds."""
        with self._lock:
            self._forget()
            return [value for _, value in self._values]

    def mean(self) -> float:
        """0 when there is nothing."""
        values = self.values()
        return sum(values) / len(values) if values else 0.0

    def _forget(self) -> None:
        oldest = monotonic() - self.seconds
        while self._values and self._values[0][0] < oldest:
            self._values.popleft()


def percentile(values: list[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed; 0 when there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def prometheus(metrics: Mapping[str, float]) -> bytes:
    """Prometheus text: `_total` are counters, the others gauges."""
    lines = []
    for name, value in metrics.items():
        lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
        lines.append(f"{name} {value:.10g}")
    return ("\n".join(lines) + "\n").encode()
