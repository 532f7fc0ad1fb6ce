"""What the demonstration tells whoever shows it.

Belongs here: the protocol and its shapes. Does not belong here: any way of showing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Box:
    """A box that the pipeline found, in the picture's own coordinates."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: str  # empty: found, and not labelled
    right: bool | None  # whether the label is what was drawn; None: nobody can say


@dataclass(frozen=True)
class Picture:
    """A frame as the application's client last saw it, small and grey."""

    width: int
    height: int
    pixels: bytes  # width * height, row by row, 0 is black
    boxes: tuple[Box, ...]
    frame: int


@dataclass(frozen=True)
class DemoSample:
    """What the application's client measures, over its last second or so."""

    fps: float
    latency_p50_ms: float
    latency_p95_ms: float
    labels_right: float  # 0 to 1


class DemoObserver(Protocol):
    """Told of everything from the event loop that runs the demonstration; must not block."""

    def step(self, name: str, state: str, seconds: float, message: str) -> None:
        """A step is `running`, `done` or `failed`; `seconds` since it began."""

    def picture(self, picture: Picture) -> None:
        """A new frame, some times a second."""

    def sample(self, sample: DemoSample) -> None:
        """New figures."""
