"""What every view of the fleet has: tabs, banner, filter and command line, keys.

Belongs here: the frame around a view, and the way from a key or a typed word to an action. Does
not belong here: what a view shows, or what an action does (`tui.doing`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from oakctl.errors import OakError, UsageError
from oakctl.tui import actions
from oakctl.tui.actions import View
from oakctl.tui.plain import plain
from oakctl.tui.viewmodels import headline
from oakctl.tui.viewmodels.filters import Filter
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.widgets.keyed_table import KeyedTable

if TYPE_CHECKING:
    from oakctl.tui.app import OakApp

COMMAND, FILTER = "command", "filter"


class FleetView(Screen[None]):
    """A screen over the app's watch; `view` says which keys it has."""

    DEFAULT_CSS = """
    #title { height: 1; background: $panel; padding: 0 1; }
    #banner { display: none; height: 1; background: $error; color: $text; padding: 0 1; }
    #banner.-shown { display: block; }
    .panel { border: round $primary-darken-2; border-title-color: $text-muted; }
    .panel:focus { border: round $accent; }
    .main { height: 1fr; min-height: 3; }
    #line { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    #line.-shown { display: block; }
    """
    view: ClassVar[View]

    def __init_subclass__(cls, **options: Any) -> None:
        """The keys of a view come from the one table of actions."""
        if "view" in cls.__dict__:
            cls.BINDINGS = _bindings(cls.view)
        super().__init_subclass__(**options)

    def __init__(self) -> None:
        super().__init__()
        self.shown = Filter()
        self.note = ""  # what the title says besides
        self._line_is = COMMAND

    @property
    def oak(self) -> OakApp:
        """The app, with what all views share."""
        return cast("OakApp", self.app)

    @property
    def snapshot(self) -> Snapshot:
        """What the root said last."""
        return self.oak.feed.snapshot

    def compose(self) -> ComposeResult:
        """Title, banner, panels, keys."""
        yield Static(id="title")
        yield Static(id="banner")
        yield from self.compose_panels()
        yield Input(id="line", select_on_focus=False)
        yield Footer(show_command_palette=False)

    def compose_panels(self) -> ComposeResult:
        """Everything between banner and keys."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """Bring the panels up to date."""
        raise NotImplementedError

    def selected(self) -> tuple[str, str]:
        """What the cursor is on: kind and full name; ("", "") for nothing."""
        return "", ""

    def on_mount(self) -> None:
        """The first frame does not wait for the root."""
        self.refresh_view()
        tables = self.query(KeyedTable)
        if tables:
            tables.first().focus()

    def on_screen_resume(self) -> None:
        """What happened meanwhile."""
        self.refresh_view()

    def has_panels(self) -> bool:
        """Whether there is anything to draw on: not while the app starts or ends."""
        return self.is_attached and bool(self.query("Footer"))

    def refresh_view(self) -> None:
        """Draw what is known now; ages grow whether the root answers or not."""
        if self.has_panels():
            # While the app starts or ends, not all of a screen is there.
            with suppress(NoMatches):
                self._draw_all()

    def _draw_all(self) -> None:
        feed = self.oak.feed
        now = feed.clock()
        width = max(10, self.size.width - 2)
        title = headline.title(feed.snapshot, now, self.view, width, note=self.note)
        self.query_one("#title", Static).update(plain(title))
        banner = self.query_one("#banner", Static)
        banner.update(plain(headline.fault(feed.fault, feed.snapshot, now)))
        banner.set_class(bool(feed.fault), "-shown")
        self.draw(feed.snapshot, now)
        for table in self.query(".filtered").results(KeyedTable):
            table.border_subtitle = plain(f"/{self.shown.text}") if self.shown else ""

    # --- keys and typed words ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what this view has; a read-only app has no key that changes the fleet."""
        if action == "do" and parameters:
            there = actions.on_view(self.view, read_only=self.oak.read_only)
            return any(each.name == parameters[0] for each in there)
        return super().check_action(action, parameters)

    def action_do(self, name: str) -> None:
        """A key, a palette entry or a typed word asks for this."""
        action = actions.BY_NAME[name]
        own = getattr(self, f"on_{name}_asked", None)
        if own is not None:
            own()
        else:
            self.oak.do(self, action)

    def do_typed(self, text: str) -> None:
        """Carry out a typed command, or say why not."""
        try:
            typed = actions.read(text, read_only=self.oak.read_only)
            on_this_view = self.view in typed.action.on
            if not typed.target and not on_this_view and typed.action.target:
                raise UsageError(
                    f":{typed.action.name} has to be told what", hint=typed.action.usage
                )
        except OakError as error:
            self.oak.say_error(error)
            return
        if typed.target or typed.argument or not on_this_view:
            self.oak.do(self, typed.action, typed.target, typed.argument)
        else:
            self.action_do(typed.action.name)

    def on_filter_asked(self) -> None:
        """Type what is to be shown."""
        self._open_line(FILTER, self.shown.text, "text  !text  key=value")

    def on_command_asked(self) -> None:
        """Type what is to be done."""
        self._open_line(COMMAND, "", "a command, as in: scale Rec 2    help names all")

    def on_back_asked(self) -> None:
        """Close the line, drop the filter, or leave the page."""
        if self.query_one("#line").has_class("-shown"):
            self._close_line()
        elif self.shown:
            self.shown = Filter()
            self.refresh_view()
        elif len(self.app.screen_stack) > 2:
            self.dismiss()

    def _open_line(self, kind: str, text: str, hint: str) -> None:
        line = self.query_one("#line", Input)
        self._line_is = kind
        line.placeholder = f"{'/' if kind == FILTER else ':'} {hint}"
        line.value = text
        line.add_class("-shown")
        line.focus()

    def _close_line(self) -> None:
        self.query_one("#line").remove_class("-shown")
        tables = self.query(KeyedTable)
        if tables:
            tables.first().focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter works as it is typed."""
        if event.input.id == "line" and self._line_is == FILTER:
            self.shown = Filter(event.value)
            self.refresh_view()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        if event.input.id != "line":
            return
        kind, text = self._line_is, event.value
        self._close_line()
        if kind == COMMAND and text.strip():
            self.do_typed(text)

    def on_click(self, event: events.Click) -> None:
        """A tab in the title."""
        if event.screen_y == 0 and self.view in actions.TABS:
            found = headline.tab_at(event.screen_x - 1, max(10, self.size.width - 2))
            if found is not None:
                self.action_do(found.value.lower())

    def on_keyed_table_opened(self) -> None:
        """A second click on a row."""
        if any(action.name == "open" for action in actions.on_view(self.view)):
            self.action_do("open")


def titled(table: KeyedTable, words: str) -> KeyedTable:
    """The table with a title of ours."""
    table.border_title = words
    return table


def _bindings(view: View) -> list[BindingType]:
    """The keys of a view; each calls `action_do` with the action's name."""
    return [
        Binding(
            action.key,
            f"do('{action.name}')",
            action.title,
            show=action.in_footer,
            key_display=actions.key_of(action),
            tooltip=action.help,
        )
        for action in actions.on_view(view)
    ]
