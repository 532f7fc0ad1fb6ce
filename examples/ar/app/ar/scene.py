"""Frames to look at: things that move over a noisy background, or pictures from a folder.

Belongs here: making frames and the truth about them, which the checker alone gets. Does not
belong here: anything that looks at pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ar.kinds import KINDS, mask
from ar.wire import Box

Frame = NDArray[np.uint8]

TRUTH_FILE = "truth.json"
CELL = 160  # pixels: one thing moves in each cell, so that no two touch
_BACKGROUND = 60
_NOISE = 12.0  # standard deviation
_NOISE_FRAMES = 8
_PNM = re.compile(rb"P([56])\s+(?:#[^\n]*\s+)*(\d+)\s+(?:#[^\n]*\s+)*(\d+)\s+(\d+)\s", re.DOTALL)


class Unusable(ValueError):
    """Pictures or sizes that cannot be shown; the text says which and why."""


@dataclass(frozen=True)
class Shot:
    """A frame and, apart from it, what is in it."""

    pixels: Frame
    truth: tuple[Box, ...]


class Source(Protocol):
    """Where frames come from; it never ends."""

    def shots(self) -> Iterator[Shot]:
        """One frame after the other."""
        ...


@dataclass
class _Thing:
    kind: str
    size: int
    level: int
    x: float
    y: float
    dx: float  # pixels per frame
    dy: float


class DrawnScene:
    """Shapes and glyphs that bounce, each in a cell of its own. The seed decides everything."""

    def __init__(self, width: int, height: int, seed: int, things: int = 6) -> None:
        if width < CELL or height < CELL:
            raise Unusable(f"{width}x{height} is smaller than {CELL}x{CELL}")
        self._random = np.random.default_rng(seed)
        self.width, self.height = width, height
        self._noise = self._make_noise()
        self._cells = self._make_cells(things)
        self._things = [self._thing(cell) for cell in self._cells]

    def _make_noise(self) -> list[Frame]:
        shape = (self.height, self.width)
        return [
            np.clip(self._random.normal(_BACKGROUND, _NOISE, shape), 0, 110).astype(np.uint8)
            for _ in range(_NOISE_FRAMES)
        ]

    def _make_cells(self, things: int) -> list[tuple[int, int]]:
        cells = [
            (x, y)
            for y in range(0, self.height - CELL + 1, CELL)
            for x in range(0, self.width - CELL + 1, CELL)
        ]
        chosen = self._random.permutation(len(cells))[:things]
        return [cells[index] for index in chosen]

    def _thing(self, cell: tuple[int, int]) -> _Thing:
        random = self._random
        size = int(random.integers(48, 97))
        kind = str(random.choice(KINDS))
        room = CELL - 8 - size
        return _Thing(
            kind,
            size,
            int(random.integers(80, 141)),
            cell[0] + 4 + float(random.uniform(0, room)),
            cell[1] + 4 + float(random.uniform(0, room)),
            *(float(speed) for speed in random.uniform(-4, 4, 2)),
        )

    def shots(self) -> Iterator[Shot]:
        """Frames for ever; now and then a thing is replaced by another."""
        number = 0
        while True:
            number += 1
            if number % 40 == 0:
                index = int(self._random.integers(len(self._things)))
                self._things[index] = self._thing(self._cells[index])
            yield self._draw()
            for thing, cell in zip(self._things, self._cells, strict=True):
                _move(thing, cell)

    def _draw(self) -> Shot:
        frame = self._noise[int(self._random.integers(_NOISE_FRAMES))].copy()
        truth = []
        for thing in self._things:
            shape = mask(thing.kind, thing.size)
            x, y = round(thing.x), round(thing.y)
            below = frame[y : y + shape.shape[0], x : x + shape.shape[1]]
            below += shape.astype(np.uint8) * np.uint8(thing.level)
            truth.append(Box(x, y, x + shape.shape[1], y + shape.shape[0], thing.kind))
        return Shot(frame, tuple(truth))


def _move(thing: _Thing, cell: tuple[int, int]) -> None:
    thing.x += thing.dx
    thing.y += thing.dy
    room = CELL - 4 - thing.size
    if not cell[0] + 4 <= thing.x <= cell[0] + room:
        thing.dx = -thing.dx
        thing.x = min(max(thing.x, cell[0] + 4), cell[0] + room)
    if not cell[1] + 4 <= thing.y <= cell[1] + room:
        thing.dy = -thing.dy
        thing.y = min(max(thing.y, cell[1] + 4), cell[1] + room)


class PictureFolder:
    """PGM and PPM pictures of a folder, in the order of their names, again and again.

    `truth.json` beside them maps each picture's name to its boxes, as lists of
    {"x0", "y0", "x1", "y1", "label"}.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".pgm", ".ppm"))
        if not self._paths:
            raise Unusable(f"{folder} has no .pgm or .ppm picture")
        self._truth = _read_truth(folder / TRUTH_FILE)
        first = read_picture(self._paths[0])
        self.height, self.width = first.shape

    def shots(self) -> Iterator[Shot]:
        """Pictures for ever; raises Unusable for one that is of another size."""
        while True:
            for path in self._paths:
                pixels = read_picture(path)
                if pixels.shape != (self.height, self.width):
                    raise Unusable(f"{path} is not {self.width}x{self.height} like the first")
                yield Shot(pixels, self._truth.get(path.name, ()))


def _read_truth(path: Path) -> dict[str, tuple[Box, ...]]:
    if not path.exists():
        return {}
    try:
        pictures = json.loads(path.read_text())
        return {name: tuple(Box(**box) for box in boxes) for name, boxes in pictures.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise Unusable(f"{path} is not a truth file: {error}") from error


def read_picture(path: Path) -> Frame:
    """The gray pixels of a binary PGM (P5) or PPM (P6) file; raises Unusable."""
    data = path.read_bytes()
    head = _PNM.match(data)
    if head is None or int(head[4]) != 255:
        raise Unusable(f"{path} is not a binary PGM or PPM picture with 8 bits")
    width, height = int(head[2]), int(head[3])
    channels = 3 if head[1] == b"6" else 1
    count = width * height * channels
    if len(data) < head.end() + count:
        raise Unusable(f"{path} ends before its last pixel")
    pixels = np.frombuffer(data, np.uint8, count, head.end())
    if channels == 1:
        return pixels.reshape(height, width)
    colours = pixels.reshape(height, width, 3).astype(np.uint16)
    # Rec. 601 luma in 256ths.
    luma = (77 * colours[..., 0] + 150 * colours[..., 1] + 29 * colours[..., 2]) >> 8
    return luma.astype(np.uint8)


def write_picture(path: Path, pixels: Frame) -> None:
    """`pixels` as a binary PGM file."""
    height, width = pixels.shape
    path.write_bytes(b"P5\n%d %d\n255\n" % (width, height) + pixels.tobytes())
