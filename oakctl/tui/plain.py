"""Text from elsewhere on its way into a widget.

Belongs here: the only ways in which names, reasons, log lines and errors reach the screen. They
never go through markup: `[/` in a reason would end the program, `[@click=…]` would plant an
action. Does not belong here: text of our own.
"""

from __future__ import annotations

from rich.text import Text
from textual.content import Content

from oakctl.tui.viewmodels.rows import Cell
from oakctl.tui.viewmodels.status import Tone
from oakctl.tui.viewmodels.words import clean

STYLES: dict[Tone, str] = {
    Tone.GOOD: "green",
    Tone.BUSY: "cyan",
    Tone.WARNING: "yellow",
    Tone.BAD: "bold red",
    Tone.IDLE: "bright_black",
}


def plain(text: str) -> Content:
    """For Static, Label, Button, titles, notifications: one line, harmless, of bounded length."""
    return Content(clean(text))


def plain_lines(lines: list[str]) -> Content:
    """As `plain`, for several lines."""
    return Content("\n".join(clean(line) for line in lines))


def plain_cell(cell: Cell) -> Text:
    """For tables and logs, in the colour of what it means."""
    return plain_text(cell.text, cell.tone)


def plain_text(text: str, tone: Tone | None = None) -> Text:
    """For tables and logs."""
    return Text(
        clean(text), style=STYLES[tone] if tone else "", no_wrap=True, overflow="ellipsis", end=""
    )
