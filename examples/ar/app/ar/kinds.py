"""What can be seen: shapes and printed glyphs, each drawn as a mask of any size.

Belongs here: how things look. Does not belong here: where they are (`scene`), or how they are
told apart (`labels`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# A font of our own, five by seven.
_GLYPHS = {
    "A": (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "C": (".####", "#....", "#....", "#....", "#....", "#....", ".####"),
    "E": ("#####", "#....", "#....", "####.", "#....", "#....", "#####"),
    "H": ("#...#", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "K": ("#...#", "#..#.", "#.#..", "##...", "#.#..", "#..#.", "#...#"),
    "P": ("####.", "#...#", "#...#", "####.", "#....", "#....", "#...."),
    "T": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."),
    "X": ("#...#", "#...#", ".#.#.", "..#..", ".#.#.", "#...#", "#...#"),
    "2": (".###.", "#...#", "....#", "..##.", ".#...", "#....", "#####"),
    "4": ("...#.", "..##.", ".#.#.", "#..#.", "#####", "...#.", "...#."),
    "7": ("#####", "....#", "...#.", "..#..", "..#..", ".#...", ".#..."),
}
_SHAPES = ("disc", "ring", "square", "triangle", "cross", "diamond")

KINDS: tuple[str, ...] = (*_SHAPES, *_GLYPHS)


@cache
def mask(kind: str, size: int) -> Mask:
    """Which pixels `kind` covers, `size` pixels high. Not to be written to."""
    drawn = _glyph(_GLYPHS[kind], size) if kind in _GLYPHS else _shape(kind, size)
    drawn.flags.writeable = False
    return drawn


def _glyph(rows: tuple[str, ...], size: int) -> Mask:
    bitmap = np.array([[pixel == "#" for pixel in row] for row in rows])
    height, width = bitmap.shape
    wide = max(width, round(size * width / height))
    down = np.arange(size) * height // size
    across = np.arange(wide) * width // wide
    return np.ascontiguousarray(bitmap[np.ix_(down, across)])


def _shape(kind: str, size: int) -> Mask:
    # Pixel centres from -1 to 1 in both directions.
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = axis[:, None], axis[None, :]
    drawn: Mask
    if kind == "disc":
        drawn = x * x + y * y <= 1
    elif kind == "ring":
        drawn = (x * x + y * y <= 1) & (x * x + y * y >= 0.36)
    elif kind == "square":
        drawn = np.ones((size, size), dtype=bool)
    elif kind == "triangle":
        drawn = np.abs(x) <= (y + 1) / 2
    elif kind == "cross":
        drawn = (np.abs(x) <= 0.3) | (np.abs(y) <= 0.3)
    else:
        drawn = np.abs(x) + np.abs(y) <= 1
    return drawn
