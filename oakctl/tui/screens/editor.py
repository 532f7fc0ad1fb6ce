"""The descriptor editor: text on the left; on the right its faults, or where it would go and why.

Belongs here: the screen. Does not belong here: the file and the questions (`tui.editing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Static, TextArea

from oakctl.errors import OakError
from oakctl.tui import editing
from oakctl.tui.editing import Draft
from oakctl.tui.plain import plain, plain_lines
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.viewmodels import changes, preview
from oakctl.tui.viewmodels.words import clean

PAUSE_S = 0.4  # without a key, before the text is looked at


class EditorScreen(Screen[None]):
    """Write a descriptor, see what it leads to, apply it."""

    DEFAULT_CSS = """
    EditorScreen > #title { height: 1; background: $panel; padding: 0 1; }
    EditorScreen Horizontal { height: 1fr; }
    EditorScreen TextArea { width: 3fr; border: round $primary-darken-2; padding: 0; }
    EditorScreen TextArea:focus { border: round $accent; }
    EditorScreen VerticalScroll { width: 2fr; border: round $primary-darken-2; padding: 0 1; }
    EditorScreen VerticalScroll:focus { border: round $accent; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("ctrl+r", "apply", "Run it", priority=True),
        Binding("f6", "other", "Other side", priority=True),
        Binding("escape", "leave", "Leave", priority=True),
    ]

    def __init__(self, connect: editing.Connect, draft: Draft) -> None:
        super().__init__()
        self._connect = connect
        self.draft = draft
        self._pause: Timer | None = None

    def compose(self) -> ComposeResult:
        """Text and what it leads to, side by side."""
        yield Static(id="title")
        with Horizontal():
            yield TextArea(
                self.draft.text, id="text", show_line_numbers=True, tab_behavior="indent"
            )
            with VerticalScroll(id="side"):
                yield Static(id="told")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to write."""
        self.query_one("#text", TextArea).focus()
        self._show_title()
        self._look()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """What is typed is looked at when the typing pauses."""
        self.draft = replace(self.draft, text=event.text_area.text)
        self._show_title()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE_S, self._look)

    def _look(self) -> None:
        findings = self.draft.findings()
        marked = [f"✗ {each}" if each.severity == "error" else f"▲ {each}" for each in findings]
        if not self.draft.is_accepted():
            self._tell("Faults", marked)
            return
        self._tell("Where it would go", [*marked, "asking the clusters …"])
        self.run_worker(
            self._ask(self.draft.text, marked), group="preview", exclusive=True, exit_on_error=False
        )

    async def _ask(self, text: str, marked: list[str]) -> None:
        try:
            lines = list(preview.lines(await editing.previewed(self._connect, text)))
        except OakError as error:
            lines = _refusal(error)
        if text == self.draft.text:
            self._tell("Where it would go", [*marked, *lines])

    def _tell(self, title: str, lines: Iterable[str]) -> None:
        if self.query("#side"):
            self.query_one("#side").border_title = title
            self.query_one("#told", Static).update(plain_lines(list(lines)))

    def _show_title(self) -> None:
        state = "" if self.draft.is_saved else " · not saved"
        self.query_one("#title", Static).update(plain(f"{self.draft.file}{state}"))

    def action_other(self) -> None:
        """From the text to the other side, to scroll there, and back."""
        self.focus_next()

    def action_save(self) -> None:
        """Write the file."""
        try:
            self.draft = editing.save(self.draft)
        except OakError as error:
            self._say(error.message, error=True)
            return
        self._show_title()
        self._say(f"{self.draft.file} is saved")

    def action_apply(self) -> None:
        """Save it and run it, after a question."""
        self.run_worker(self._apply(), group="apply", exclusive=True, exit_on_error=False)

    async def _apply(self) -> None:
        if not self.draft.is_accepted():
            self._say("it has faults, which are on the right", error=True)
            return
        question = changes.apply(str(self.draft.file), self.draft.text)
        if not await self.app.push_screen_wait(ConfirmScreen.of(question)):
            return
        try:
            self.draft = await asyncio.to_thread(editing.save, self.draft)
            self._show_title()
            result = await editing.applied(self._connect, self.draft, self._say)
        except OakError as error:
            self._tell("Refused", _refusal(error))
            self._say(error.message, error=True)
            return
        created = ", ".join(result.created)
        self._say(f"{created}: accepted, the fleet follows" if created else "it runs already")
        self._look()

    def action_leave(self) -> None:
        """Back; asks where something would be lost."""
        self.run_worker(self._leave(), group="leave", exclusive=True, exit_on_error=False)

    async def _leave(self) -> None:
        if self.draft.is_loss:
            question = f"Leave without saving {self.draft.file}?"
            if not await self.app.push_screen_wait(ConfirmScreen(question, "Leave")):
                return
        self.dismiss()

    def _say(self, message: str, *, error: bool = False) -> None:
        self.notify(clean(message), severity="error" if error else "information", markup=False)


def _refusal(error: OakError) -> list[str]:
    """Why the root says no, line by line."""
    return [f"✗ {error.message}", *(f"  {each}" for each in error.details), error.hint]
