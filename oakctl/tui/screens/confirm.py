"""A question before something that changes the fleet or cannot be taken back; the default is No."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from oakctl.tui.plain import plain, plain_lines
from oakctl.tui.viewmodels.changes import Question


class ConfirmScreen(ModalScreen[bool]):
    """Gives True for yes; esc, n and enter on the first button are No."""

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen > Vertical {
        width: 72; max-width: 96%; height: auto; max-height: 96%; padding: 1 2;
        border: round $warning; background: $surface;
    }
    ConfirmScreen VerticalScroll { height: auto; max-height: 12; }
    ConfirmScreen Horizontal { height: auto; margin-top: 1; align-horizontal: right; }
    ConfirmScreen Button { margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
        Binding("left,right", "other", "Other button", show=False),
    ]

    def __init__(self, question: str, yes: str, consequences: Sequence[str] = ()) -> None:
        super().__init__()
        self._question = question
        self._yes = yes
        self._consequences = consequences

    @classmethod
    def of(cls, question: Question) -> ConfirmScreen:
        """What is asked before a change."""
        from_shell = f"from a shell: {question.command}"
        return cls(question.title, question.yes, (*question.consequences, "", from_shell))

    def compose(self) -> ComposeResult:
        """The question, what follows, and two buttons, No in focus."""
        with Vertical():
            with VerticalScroll(can_focus=False):
                yield Static(plain(self._question))
                if self._consequences:
                    marked = [f"  · {line}" if line else "" for line in self._consequences]
                    yield Static(plain_lines(marked))
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

    def action_other(self) -> None:
        """The arrows go from one button to the other."""
        self.focus_next(Button)
