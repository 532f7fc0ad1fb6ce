"""The demonstration as it goes: its steps, its figures, its picture.

Belongs here: remembering what the screen draws; it is the demonstration's observer. Does not
belong here: drawing, or the fleet (`topology`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from oakctl.demo.observer import DemoSample, Picture
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.picture import PictureBox
from oakctl.tui.viewmodels.rows import Cell, Row, cell, status_cell

COLUMNS = ("State", "Step", "Took", "Message")
HISTORY = 120  # samples in a line


class DemoProgress:
    """What was told so far. `on_step` may be set to hear of steps as they end."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[Cell, ...]] = {}
        self.samples: deque[DemoSample] = deque(maxlen=HISTORY)
        self.latest: Picture | None = None
        self.changes = 0  # grows with everything that is told
        self.on_step: Callable[[str, str, float, str], None] | None = None

    def step(self, name: str, state: str, seconds: float, message: str) -> None:
        """A step began, went on or ended."""
        took = words.duration(seconds) if seconds else ""
        shown = status_cell(status.of_word(state))
        self.steps[name] = (shown, cell(name), cell(took), cell(message))
        self.changes += 1
        if self.on_step is not None:
            self.on_step(name, state, seconds, message)

    def picture(self, picture: Picture) -> None:
        """The camera's latest picture."""
        self.latest = picture
        self.changes += 1

    def sample(self, sample: DemoSample) -> None:
        """The figures of the last second."""
        self.samples.append(sample)
        self.changes += 1

    def rows(self) -> tuple[Row, ...]:
        """The steps in the order in which they began."""
        return tuple(Row(name, cells) for name, cells in self.steps.items())

    def boxes(self) -> tuple[PictureBox, ...]:
        """The boxes of the latest picture; one that nobody can judge is not shown as wrong."""
        if self.latest is None:
            return ()
        return tuple(
            PictureBox(box.x0, box.y0, box.x1, box.y1, box.label, box.right is not False)
            for box in self.latest.boxes
        )

    def figures(self) -> tuple[str, str]:
        """Frames per second and latency, each in one line."""
        if not self.samples:
            return "frames per second  -", "latency  -"
        last = self.samples[-1]
        return (
            f"frames per second  {last.fps:.1f}   labels right  {last.labels_right:.0%}",
            f"latency  {last.latency_p50_ms:.0f} ms   95 of 100 below {last.latency_p95_ms:.0f} ms",
        )

    def fps(self) -> list[float]:
        """The line of frames per second."""
        return [sample.fps for sample in self.samples]

    def latency(self) -> list[float]:
        """The line of median latencies, milliseconds."""
        return [sample.latency_p50_ms for sample in self.samples]
