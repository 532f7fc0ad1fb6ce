"""A question before something that cannot be taken back; the default is No."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from oakctl.tui.plain import plain


class ConfirmScreen(ModalScreen[bool]):
    """Gives True for yes; esc, n and enter on the first button are No."""

    CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen > Vertical {
        width: 64; max-width: 90%; height: auto; padding: 1 2;
        border: round $warning; background: $surface;
    }
    ConfirmScreen Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
    ConfirmScreen Button { margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        """The question and two buttons, No in focus."""
        with Vertical():
            yield Static(plain(self._question))
            with Horizontal():
                yield Button(plain("Cancel (n)"), id="no")
                yield Button(plain(f"{self._yes} (y)"), id="yes", variant="warning")

    def on_mount(self) -> None:
        """No is what Enter does."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is an answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """A key is an answer."""
        self.dismiss(answer)
