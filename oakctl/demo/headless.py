"""The demonstration as lines of text, one per step and a summary: for pipes, CI and logs.

Belongs here: making the lines. Does not belong here: writing them anywhere (`cli`).
"""

from __future__ import annotations

from collections.abc import Callable

from oakctl.demo.observer import DemoSample, Picture
from oakctl.demo.report import Report


class HeadlessObserver:
    """Gives `write` one line for each step that ended, and one for each new sample."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def step(self, name: str, state: str, seconds: float, message: str) -> None:
        """A line when the step has ended."""
        if state != "running":
            self._write(step_line(name, state, seconds, message))

    def picture(self, picture: Picture) -> None:
        """Nothing: a line of text is no place for a picture."""

    def sample(self, sample: DemoSample) -> None:
        """One line."""
        self._write(sample_line(sample))


def step_line(name: str, state: str, seconds: float, message: str) -> str:
    """`lab up                  done    0.4 s  7 hosts`."""
    return f"{name:<24} {state:<6} {seconds:>6.1f} s  {message}".rstrip()


def sample_line(sample: DemoSample) -> str:
    """`  18.9 fps, latency 41 ms (p95 62 ms), 99.6% of the labels right`."""
    return (
        f"  {sample.fps:.1f} fps, latency {sample.latency_p50_ms:.0f} ms "
        f"(p95 {sample.latency_p95_ms:.0f} ms), {sample.labels_right:.1%} of the labels right"
    )


def summary(report: Report) -> list[str]:
    """The last lines: what was measured, where things ran, and what was wrong."""
    measured = report.measured
    lines = [
        f"{measured.frames} frames, {measured.fps:.1f} fps, latency "
        f"{measured.latency_p50_ms:.0f} ms (p95 {measured.latency_p95_ms:.0f} ms), "
        f"{measured.labels_right:.1%} of the labels right"
    ]
    lines += [f"  {name} ran on {place}" for name, place in report.placements.items()]
    lines += [f"fault: {fault}" for fault in report.faults]
    return lines
