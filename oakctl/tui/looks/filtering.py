"""All that is drawn on its way to a terminal that cannot draw all of it.

Does not belong here: which characters those are (`glyphs`).
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from oakctl.tui.looks.glyphs import Glyphs, drawn


class GlyphFilter(LineFilter):
    """Textual's lines with what `glyphs` has instead of what it has not."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(enabled=glyphs is not Glyphs.UNICODE)
        self._glyphs = glyphs

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """See `LineFilter`; widths stay as they are."""
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(drawn(segment.text, self._glyphs), segment.style)
            for segment in segments
        ]
