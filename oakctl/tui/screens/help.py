"""The keys and typed commands of a view, made from the table of actions."""

from __future__ import annotations

from oakctl.tui import actions
from oakctl.tui.actions import View
from oakctl.tui.screens.text import TextScreen

_MOVING = (
    "",
    "tab     next panel",
    "↑ ↓     move; ← → sideways; home, end",
    "",
    "● good  ◐ on its way  ▲ needs a look  ✗ bad  ○ off",
)


class HelpScreen(TextScreen):
    """Closed as other texts are."""

    def __init__(self, view: View, *, read_only: bool = False) -> None:
        lines = [*actions.help_lines(view, read_only=read_only), *_MOVING]
        super().__init__(f"Keys of {view.value}", lines)
