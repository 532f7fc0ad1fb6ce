"""One question with a typed answer."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from oakctl.tui.plain import plain


class AskScreen(ModalScreen[str | None]):
    """Gives what was typed, or None for esc."""

    DEFAULT_CSS = """
    AskScreen { align: center middle; }
    AskScreen > Vertical {
        width: 64; max-width: 96%; height: auto; padding: 1 2;
        border: round $primary; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def __init__(self, question: str, answer: str = "", *, hidden: bool = False) -> None:
        super().__init__()
        self._question = question
        self._answer = answer
        self._hidden = hidden  # a password

    def compose(self) -> ComposeResult:
        """The question and a line."""
        with Vertical():
            yield Static(plain(self._question))
            yield Input(self._answer, id="answer", password=self._hidden)
            yield Static(plain("⏎ go on   esc cancel"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)
