"""The camera picture, drawn with half blocks in as many characters as there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from oakctl.tui.viewmodels import picture
from oakctl.tui.viewmodels.picture import Colour, Glyph, PictureBox

WAITING = "no picture yet"


def _code(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


class Camera(Widget):
    """Shows the last picture that it was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._picture: tuple[int, int, bytes, tuple[PictureBox, ...]] | None = None
        self._strips: list[Strip] | None = None
        self._styles: dict[tuple[Colour, Colour], Style] = {}

    def show(self, width: int, height: int, pixels: bytes, boxes: Sequence[PictureBox]) -> None:
        """Draw 8-bit gray `pixels` with `boxes` in pixel coordinates."""
        self._picture = (width, height, pixels, tuple(boxes))
        self._strips = None
        self.refresh()

    def on_resize(self) -> None:
        """Draw anew in the new size."""
        self._strips = None

    def render_line(self, y: int) -> Strip:
        """One line of the drawing."""
        if self._strips is None:
            self._strips = self._drawn()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)

    def _drawn(self) -> list[Strip]:
        if self._picture is None:
            return [Strip([Segment(WAITING, self.rich_style)])]
        width, height, pixels, boxes = self._picture
        lines = picture.draw(width, height, pixels, boxes, self.size.width, self.size.height)
        # Colours of a picture are few and come again; styles of old ones are let go.
        if len(self._styles) > 50_000:
            self._styles.clear()
        return [Strip([self._segment(glyph) for glyph in line]).simplify() for line in lines]

    def _segment(self, glyph: Glyph) -> Segment:
        colours = (glyph.front, glyph.back)
        style = self._styles.get(colours)
        if style is None:
            style = Style(color=_code(glyph.front), bgcolor=_code(glyph.back))
            self._styles[colours] = style
        return Segment(glyph.character, style)
