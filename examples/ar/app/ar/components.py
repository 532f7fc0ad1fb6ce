"""Obj's work: boxes around what stands out from the background.

Connected components on real pixels: a threshold from the frame's own noise, runs of bright
pixels in each row, and runs that touch joined (eight neighbours). Does not belong here: labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ar.scene import Frame
from ar.wire import Box

SMALLEST = 8  # pixels of height
LEAST_AREA = 24  # bright pixels
GAP = 1  # pixels between runs that still touch: a glyph's diagonals are thin
MOST_RUNS = 20_000  # more is noise that no threshold separates

Runs = NDArray[np.int64]


def find_boxes(frame: Frame) -> list[Box]:
    """The box of each thing in `frame`, from the top left."""
    bright = frame > threshold(frame)
    starts, ends = _runs(bright)
    if not 0 < len(starts) <= MOST_RUNS:
        return []
    labels = _join(starts, ends, _stride(frame))
    return _boxes(starts, ends, labels, _stride(frame))


def threshold(frame: Frame) -> float:
    """Brightness that the background does not reach: its median and four times its spread."""
    sample = frame[::4, ::4]
    middle = float(np.median(sample))
    # The things are bright and few; what is below the middle is background alone.
    dark = sample[sample <= middle].astype(np.float32)
    spread = 1.4826 * float(np.median(middle - dark)) if dark.size else 0.0
    return middle + max(24.0, 4 * spread)


def _stride(frame: Frame) -> int:
    """Positions per row: wider than the frame, so that no run touches the next row's edge."""
    return int(frame.shape[1]) + 2 * (GAP + 1)


def _runs(bright: NDArray[np.bool_]) -> tuple[Runs, Runs]:
    """Where runs of bright pixels begin and end, as positions row by row."""
    height, width = bright.shape
    padded = np.zeros((height, width + 2 * (GAP + 1)), np.int8)
    padded[:, GAP + 1 : GAP + 1 + width] = bright
    steps = np.diff(padded.ravel())
    return np.flatnonzero(steps == 1) + 1, np.flatnonzero(steps == -1) + 1


def _join(starts: Runs, ends: Runs, stride: int) -> list[int]:
    """For each run the number of the component that it belongs to."""
    # Runs of the next row that overlap this one, or lie at most GAP beside it.
    first = np.searchsorted(ends, starts + stride - GAP, side="left")
    last = np.searchsorted(starts, ends + stride + GAP, side="right")
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    for run, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for other in range(low, high):
            parent[root(other)] = root(run)
    return [root(run) for run in range(len(starts))]


def _boxes(starts: Runs, ends: Runs, labels: list[int], stride: int) -> list[Box]:
    members: dict[int, list[int]] = {}
    for run, label in enumerate(labels):
        members.setdefault(label, []).append(run)
    boxes = []
    for runs in members.values():
        rows = starts[runs] // stride
        left = int((starts[runs] % stride).min()) - GAP - 1
        right = int(((ends[runs] - 1) % stride).max()) - GAP
        top, bottom = int(rows.min()), int(rows.max()) + 1
        area = int((ends[runs] - starts[runs]).sum())
        if bottom - top >= SMALLEST and area >= LEAST_AREA:
            boxes.append(Box(left, top, right, bottom))
    return sorted(boxes, key=lambda box: (box.y0, box.x0))
