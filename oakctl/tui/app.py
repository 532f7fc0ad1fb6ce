"""The terminal app: a terminal that is given back, one watch, the views over it.

Belongs here: what all screens share. Does not belong here: a screen, or an action (`doing`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.worker import Worker, WorkerState

from oakctl.errors import OakError
from oakctl.tui.actions import Action, View
from oakctl.tui.doing import Doing, told
from oakctl.tui.feed import POLL_S, Feed
from oakctl.tui.looks import themes
from oakctl.tui.looks.filtering import GlyphFilter
from oakctl.tui.looks.glyphs import glyphs_of
from oakctl.tui.palette import ActionProvider
from oakctl.tui.root_reader import Connect
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.demo import DemoScreen
from oakctl.tui.screens.fleet import FleetScreen
from oakctl.tui.screens.lists import (
    EventsScreen,
    InstancesScreen,
    ListView,
    NodesScreen,
    ServicesScreen,
)
from oakctl.tui.screens.overlay import OverlayScreen
from oakctl.tui.screens.view import FleetView
from oakctl.tui.screens.wizard.frame import Connect as ConnectRoot
from oakctl.tui.screens.wizard.frame import open_wizard
from oakctl.tui.terminal import leave_on_signals, survive_old_mouse_reports
from oakctl.tui.viewmodels.demo import DemoProgress
from oakctl.tui.viewmodels.filters import Filter
from oakctl.tui.viewmodels.words import clean

FLUSH_S = 0.5  # nothing is drawn more often because of what the root says


class OakApp(App[None]):
    """Base of our apps; `connect` opens the root that is shown, `clock` tells its age."""

    COMMAND_PALETTE_BINDING = "ctrl+p"
    COMMANDS: ClassVar[set[Any]] = {ActionProvider}
    TITLE = "oakctl"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "leave", "Quit", show=False)]

    def __init__(
        self,
        connect: Connect,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        survive_old_mouse_reports()
        self._glyphs = GlyphFilter(glyphs_of(os.environ))
        super().__init__()
        self._look = themes.remembered(os.environ)
        for theme in themes.THEMES.values():
            self.register_theme(theme)
        self.ansi_theme_dark, self.ansi_theme_light = themes.ANSI_DARK, themes.ANSI_LIGHT
        self.theme = themes.THEMES[self._look].name
        self.read_only = read_only
        self.feed = Feed(connect, clock)
        self._dirty = False
        self._has_drawn = False  # something that the root said

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and ours for terminals that cannot draw everything."""
        own = (self._glyphs,) if self._glyphs.enabled else ()
        return [*super().get_line_filters(), *own]

    def choose_look(self, word: str) -> None:
        """The theme called `word`, or the other one; from now on.

        Raises UsageError for a word that is none, OakError where it cannot be remembered.
        """
        self._look = themes.named(word, self._look)
        self.theme = themes.THEMES[self._look].name
        themes.remember(self._look)

    @property
    def connect(self) -> Connect:
        """Opens the root."""
        return self.feed.connect

    async def on_mount(self) -> None:
        """Show the first screen, begin to look and to listen."""
        if not self.is_headless:
            leave_on_signals(self)
        self.feed.changed = self._mark
        await self.push_screen(self.first_screen())
        self.set_interval(POLL_S, self._tick)
        self.set_interval(FLUSH_S, self._beat)
        self._tick()
        await self.begin()

    def first_screen(self) -> FleetView:
        """The screen that is there from the start to the end."""
        raise NotImplementedError

    async def begin(self) -> None:
        """What else is shown at the start."""

    def ready_to_look(self) -> bool:
        """Whether there is a root to be asked."""
        return True

    def _mark(self) -> None:
        self._dirty = True
        if not self._has_drawn and self.feed.snapshot.taken_at:
            # The first answer is drawn at once, the others with the next beat.
            self._has_drawn = True
            self._beat()

    def _tick(self) -> None:
        self._dirty = True  # ages grow whether the root answers or not
        if not self.ready_to_look():
            return
        running = {worker.group for worker in self.workers if not worker.is_finished}
        if "poll" not in running:
            self.run_worker(self.feed.poll(), group="poll", exit_on_error=False)
        if "follow" not in running:
            self.run_worker(self.feed.follow(), group="follow", exit_on_error=False)

    def _beat(self) -> None:
        if self._dirty:
            self._dirty = False
            self._draw()

    def _draw(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, FleetView):
                screen.refresh_view()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What fails in the background is told, and tried again at the next tick."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.tell(str(event.worker.error) or type(event.worker.error).__name__)

    # --- what screens ask for ---

    def do(self, view: FleetView, action: Action, target: str = "", argument: str = "") -> None:
        """Do what was asked for on `view`, beside what is drawn."""
        doing = Doing(self, view, target, argument)
        self.run_worker(
            told(doing.run(action), self.say_error),
            group=f"do-{action.name}",
            exclusive=True,
            exit_on_error=False,
        )

    async def go_to(self, view: View, key: str = "", shown: str | None = None) -> None:
        """Another view, with the cursor on `key` and the filter `shown`."""

    async def open_wizard(self) -> None:
        """From machines to a running application; only where the root can be changed."""

    async def action_quit(self) -> None:
        """Ctrl-Q is q."""
        self.action_leave()

    def action_leave(self) -> None:
        """End the app."""
        self.exit()

    def tell(self, message: str) -> None:
        """Show a fault of what runs beside the app, until the root answers again."""
        self.feed.failed(message)
        self._draw()

    def say(self, message: str) -> None:
        """A passing remark."""
        self.notify(clean(message), markup=False)

    def say_error(self, error: OakError) -> None:
        """What could not be done, and what to do."""
        text = "\n".join(clean(part, 500) for part in (error.message, error.hint) if part)
        self.notify(text, severity="error", markup=False, timeout=10)


class FleetApp(OakApp):
    """What `oakctl` shows: the fleet."""

    VIEWS: ClassVar[dict[View, type[FleetView]]] = {
        View.FLEET: FleetScreen,
        View.SERVICES: ServicesScreen,
        View.NODES: NodesScreen,
        View.INSTANCES: InstancesScreen,
        View.EVENTS: EventsScreen,
        View.OVERLAY: OverlayScreen,
    }

    def __init__(
        self,
        connect: Connect,
        *,
        setup: ConnectRoot | None = None,
        begin_with_setup: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(connect, **options)
        self._views: dict[View, FleetView] = {}
        self._setup = setup
        self._begin_with_setup = begin_with_setup

    async def begin(self) -> None:
        """Where that is wanted, with the wizard."""
        if self._begin_with_setup:
            await self.open_wizard()

    async def open_wizard(self) -> None:
        """See `OakApp.open_wizard`."""
        if self._setup is None:
            return

        async def left() -> None:
            await self.go_to(View.FLEET)
            self.feed.ask_now()

        await open_wizard(self, self._setup, left)

    def first_screen(self) -> FleetView:
        """The fleet."""
        return self._view(View.FLEET)

    def _view(self, view: View) -> FleetView:
        if view not in self._views:
            screen = self.VIEWS[view]()
            self.install_screen(screen, view.name)
            self._views[view] = screen
        return self._views[view]

    async def go_to(self, view: View, key: str = "", shown: str | None = None) -> None:
        """See `OakApp.go_to`; pages above the view are left."""
        while len(self.screen_stack) > 2:
            await self.pop_screen()
        screen = self._view(view)
        if shown is not None:
            screen.shown = Filter(shown)
        if isinstance(screen, ListView):
            screen.look_for = key
        if self.screen is not screen:
            await self.switch_screen(screen)
        screen.refresh_view()

    def action_leave(self) -> None:
        """End the app; asks when work on hosts would be interrupted."""
        self.run_worker(self._leave(), group="leave", exclusive=True, exit_on_error=False)

    async def _leave(self) -> None:
        running = await self._under_way()
        if running:
            question = f"{running} is under way; leaving interrupts it. It can be run again."
            if not await self.push_screen_wait(ConfirmScreen(question, "Leave")):
                return
        self.exit()

    async def _under_way(self) -> str:
        try:
            async with self.connect() as root:
                operations = await root.operations()
        except OakError:  # a root that does not answer has nothing to be interrupted
            return ""
        names = [f"{view.kind} {view.subject}" for view in operations if view.state == "running"]
        return ", ".join(names)


class DemoApp(OakApp):
    """What `oakctl demo` shows; `stop` begins the demonstration's end."""

    def __init__(
        self, connect: Connect, progress: DemoProgress, stop: Callable[[], object]
    ) -> None:
        super().__init__(connect)
        self._progress = progress
        self._stop = stop
        self._stopping = False

    def first_screen(self) -> FleetView:
        """The demonstration's."""
        self._shown = DemoScreen(self._progress)
        return self._shown

    def ready_to_look(self) -> bool:
        """The demonstration's own root is there from its first steps on."""
        return bool(self._progress.steps)

    def action_leave(self) -> None:
        """Tear the demonstration down, after a question; the app ends when that is done."""
        if not self._stopping:
            self.run_worker(self._leave(), group="leave", exclusive=True, exit_on_error=False)

    async def _leave(self) -> None:
        question = "Tear down the demonstration: application, clusters and hosts?"
        if await self.push_screen_wait(ConfirmScreen(question, "Tear down")):
            self._stopping = True
            self._shown.note = "tearing down"
            self._shown.refresh_view()
            self._stop()
