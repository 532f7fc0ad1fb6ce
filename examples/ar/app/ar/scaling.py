"""Pre's work: a smaller frame, each pixel the mean of a square of the larger one."""

from __future__ import annotations

import numpy as np

from ar.scene import Frame

TARGET_WIDTH = 320


def factor_for(width: int) -> int:
    """How many times smaller a frame of this width becomes."""
    return max(1, round(width / TARGET_WIDTH))


def scale_down(frame: Frame, factor: int) -> Frame:
    """`frame` in 1/factor of its size; rows and columns that are left over are cut off."""
    if factor == 1:
        return frame
    height, width = (side // factor * factor for side in frame.shape)
    cut = frame[:height, :width]
    total = np.zeros((height // factor, width // factor), np.uint16)
    for down in range(factor):
        for across in range(factor):
            total += cut[down::factor, across::factor]
    return (total // (factor * factor)).astype(np.uint8)
