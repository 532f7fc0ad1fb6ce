"""The camera picture in half-block characters, with its boxes and labels.

Belongs here: scaling a gray picture to a grid of characters (each two pixels high) and what is
drawn into it. Pure and without NumPy: a terminal has few thousand characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.tui.viewmodels.words import clean

Colour = tuple[int, int, int]

RIGHT: Colour = (80, 220, 100)
WRONG: Colour = (240, 80, 80)
INK: Colour = (0, 0, 0)
UPPER_HALF = "▀"


@dataclass(frozen=True)
class PictureBox:
    """A found object, in pixels of the picture."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: str
    right: bool


@dataclass(frozen=True)
class Glyph:
    """One character of the drawing: `front` is its upper half where it is a half block."""

    character: str
    front: Colour
    back: Colour


def fit(width: int, height: int, columns: int, lines: int) -> tuple[int, int]:
    """(columns, lines) of the largest drawing of width×height pixels that fits; never 0."""
    if width <= 0 or height <= 0 or columns <= 0 or lines <= 0:
        return (1, 1)
    scale = min(columns / width, 2 * lines / height)
    return max(1, int(width * scale)), max(1, int(height * scale / 2))


def draw(
    width: int,
    height: int,
    pixels: bytes,
    boxes: Sequence[PictureBox],
    columns: int,
    lines: int,
) -> tuple[tuple[Glyph, ...], ...]:
    """Rows of glyphs, as large as fits into `columns`×`lines`; nothing for a picture that is
    none (too few pixels)."""
    if width <= 0 or height <= 0 or len(pixels) < width * height:
        return ()
    columns, lines = fit(width, height, columns, lines)
    canvas = _scaled(width, height, pixels, columns, 2 * lines)
    for box in boxes:
        _outline(canvas, box, columns / width, 2 * lines / height)
    drawing = [
        [Glyph(UPPER_HALF, canvas[2 * line][x], canvas[2 * line + 1][x]) for x in range(columns)]
        for line in range(lines)
    ]
    for box in boxes:
        _write(drawing, box, columns / width, lines / height)
    return tuple(tuple(line) for line in drawing)


def _scaled(width: int, height: int, pixels: bytes, columns: int, rows: int) -> list[list[Colour]]:
    xs = [min(width - 1, int((x + 0.5) * width / columns)) for x in range(columns)]
    canvas = []
    for y in range(rows):
        start = min(height - 1, int((y + 0.5) * height / rows)) * width
        line = pixels[start : start + width]
        canvas.append([(line[x], line[x], line[x]) for x in xs])
    return canvas


def _outline(canvas: list[list[Colour]], box: PictureBox, across: float, down: float) -> None:
    rows, columns = len(canvas), len(canvas[0])
    left, right = _clamp(box.x0 * across, columns), _clamp(box.x1 * across, columns)
    top, bottom = _clamp(box.y0 * down, rows), _clamp(box.y1 * down, rows)
    colour = RIGHT if box.right else WRONG
    for x in range(left, right + 1):
        canvas[top][x] = canvas[bottom][x] = colour
    for y in range(top, bottom + 1):
        canvas[y][left] = canvas[y][right] = colour


def _write(drawing: list[list[Glyph]], box: PictureBox, across: float, down: float) -> None:
    lines, columns = len(drawing), len(drawing[0])
    label = clean(box.label, 16)
    # Above the box where there is room, and whole where the picture is wide enough.
    line = _clamp(box.y0 * down - 1, lines)
    start = max(0, min(_clamp(box.x0 * across, columns), columns - len(label)))
    colour = RIGHT if box.right else WRONG
    for offset, character in enumerate(label[: columns - start]):
        drawing[line][start + offset] = Glyph(character, INK, colour)


def _clamp(value: float, size: int) -> int:
    # NaN and infinities come as text from machines, too.
    if not value > 0:
        return 0
    return int(min(value, size - 1))
