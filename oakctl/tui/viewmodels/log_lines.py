"""Pieces of a log made into lines.

Belongs here: where lines end, and how much of an endless one is kept. Does not belong here: where
the pieces come from.
"""

from __future__ import annotations

from oakctl.tui.viewmodels.words import LONGEST_LINE

LONGEST_KEPT = 4 * LONGEST_LINE


class LogLines:
    """Feed it pieces; what is after the last line end waits for the next piece."""

    def __init__(self) -> None:
        self._rest = ""

    def take(self, piece: str) -> list[str]:
        """The lines that are whole now."""
        *lines, self._rest = (self._rest + piece).split("\n")
        if len(self._rest) > LONGEST_KEPT:  # no end in sight: shown as it is
            lines, self._rest = [*lines, self._rest], ""
        return lines

    def rest(self) -> list[str]:
        """What never got its end."""
        rest, self._rest = self._rest, ""
        return [rest] if rest else []
