"""The keys of a screen, made from its bindings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from oakctl.tui.plain import plain_lines


class HelpScreen(ModalScreen[None]):
    """Any of esc, q and ? closes it."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll {
        width: 60; max-width: 90%; height: auto; max-height: 90%; padding: 1 2;
        border: round $primary; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss", "Close"),
    ]

    def __init__(self, bindings: Iterable[Binding]) -> None:
        super().__init__()
        self._bindings_shown = list(bindings)

    def compose(self) -> ComposeResult:
        """One line for each key."""
        lines = [
            f"{_key(binding):<10} {binding.tooltip or binding.description}"
            for binding in self._bindings_shown
        ]
        lines += ["", "tab        next panel", "↑ ↓        move", "end        newest event"]
        lines += ["", "● good  ◐ on its way  ▲ needs a look  ✗ bad  ○ off"]
        with VerticalScroll():
            yield Static(plain_lines(lines))


def _key(binding: Binding) -> str:
    return binding.key_display or {"question_mark": "?"}.get(binding.key, binding.key)
