"""Rec's work: what is in a box, by comparing its pixels with pictures of everything known.

Crops are brought to one size with their proportions kept, and to mean 0 and length 1, so that
size, brightness and noise matter little. Does not belong here: finding boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ar.kinds import KINDS, mask
from ar.scaling import scale_down
from ar.scene import Frame
from ar.wire import Box

SIDE = 24  # pixels of a normalised crop
MARGIN = 0.12  # of background around a box: a filled square is told by its edge
UNKNOWN = "unknown"
LEAST_LIKENESS = 0.6  # correlation, 0 to 1
_TEMPLATE_SIZES = (48, 64, 96)  # pixels, before they are scaled down like a frame

Vector = NDArray[np.float32]


class Labeller:
    """Knows how everything looks."""

    def __init__(self) -> None:
        vectors = []
        self._names = []
        for kind in KINDS:
            for size in _TEMPLATE_SIZES:
                vectors.append(_template(kind, size))
                self._names.append(kind)
        self._templates = np.stack(vectors)

    def label(self, frame: Frame, boxes: list[Box]) -> list[Box]:
        """The boxes with the names of what is in them."""
        return [
            Box(box.x0, box.y0, box.x1, box.y1, self._name(normalised(frame, box))) for box in boxes
        ]

    def _name(self, crop: Vector | None) -> str:
        if crop is None:
            return UNKNOWN
        likeness = self._templates @ crop
        best = int(likeness.argmax())
        return self._names[best] if likeness[best] >= LEAST_LIKENESS else UNKNOWN


def normalised(frame: Frame, box: Box) -> Vector | None:
    """The pixels in `box` as a vector of length 1; None when there is nothing to see."""
    side = max(box.x1 - box.x0, box.y1 - box.y0) * (1 + 2 * MARGIN)
    if side < 2:
        return None
    steps = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * side
    rows = _positions((box.y0 + box.y1) / 2 + steps, frame.shape[0])
    columns = _positions((box.x0 + box.x1) / 2 + steps, frame.shape[1])
    # Bilinear: the share of the lower and the right neighbour.
    y, x = rows.astype(np.intp), columns.astype(np.intp)
    fy, fx = (rows - y)[:, None].astype(np.float32), (columns - x)[None, :].astype(np.float32)
    below, beside = np.minimum(y + 1, frame.shape[0] - 1), np.minimum(x + 1, frame.shape[1] - 1)
    upper = frame[np.ix_(y, x)] * (1 - fx) + frame[np.ix_(y, beside)] * fx
    lower = frame[np.ix_(below, x)] * (1 - fx) + frame[np.ix_(below, beside)] * fx
    crop = upper * (1 - fy) + lower * fy
    crop -= crop.mean()
    length = float(np.sqrt((crop * crop).sum()))
    if length < 1e-3:
        return None
    vector: Vector = (crop / length).ravel().astype(np.float32)
    return vector


def _positions(centres: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Pixel positions, at the edge where they would lie outside."""
    return np.clip(centres - 0.5, 0, size - 1)


def _template(kind: str, size: int) -> Vector:
    drawn = mask(kind, size)
    height, width = drawn.shape
    around = size // 2
    canvas = np.zeros((height + 2 * around, width + 2 * around), np.uint8)
    canvas[around : around + height, around : around + width] = drawn * np.uint8(200)
    small = scale_down(canvas, 2)
    box = Box(around // 2, around // 2, (around + width) // 2, (around + height) // 2)
    vector = normalised(small, box)
    assert vector is not None, kind
    return vector
