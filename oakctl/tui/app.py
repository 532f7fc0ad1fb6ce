"""The terminal app: a terminal that is given back, the first screen.

Belongs here: what all screens share. Does not belong here: a screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from oakctl.errors import OakError
from oakctl.tui.root_reader import Connect
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.demo import DemoScreen
from oakctl.tui.screens.fleet import FleetScreen
from oakctl.tui.terminal import leave_on_signals, survive_old_mouse_reports
from oakctl.tui.viewmodels.demo import DemoProgress


class OakApp(App[None]):
    """Base of our apps; `connect` opens the root that is shown."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "oakctl"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "leave", "Quit", show=False)]

    def __init__(self, connect: Connect) -> None:
        survive_old_mouse_reports()
        super().__init__()
        self.connect = connect

    async def on_mount(self) -> None:
        """Show the first screen."""
        if not self.is_headless:
            leave_on_signals(self)
        await self.push_screen(self.first_screen())

    def first_screen(self) -> FleetScreen:
        """The screen that is there from the start to the end."""
        return FleetScreen(self.connect)

    async def action_quit(self) -> None:
        """Ctrl-Q is q."""
        self.action_leave()

    def action_leave(self) -> None:
        """End the app."""
        self.exit()

    def tell(self, message: str) -> None:
        """Show a fault of what runs beside the app."""
        for screen in self.screen_stack:
            if isinstance(screen, FleetScreen):
                screen.show_banner(message)


class FleetApp(OakApp):
    """What `oakctl` shows: the fleet."""

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

    def first_screen(self) -> FleetScreen:
        """The demonstration's."""
        self._shown = DemoScreen(self.connect, self._progress)
        return self._shown

    def action_leave(self) -> None:
        """Tear the demonstration down, after a question; the app ends when that is done."""
        if not self._stopping:
            self.run_worker(self._leave(), group="leave", exclusive=True, exit_on_error=False)

    async def _leave(self) -> None:
        question = "Tear down the demonstration: application, clusters and hosts?"
        if await self.push_screen_wait(ConfirmScreen(question, "Tear down")):
            self._stopping = True
            self._shown.note = "tearing down   "
            self._stop()
