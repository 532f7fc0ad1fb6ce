"""The fleet: topology, services and the timeline, kept up to date.

Belongs here: the panels and their refreshing, which the demonstration shares. A root that does
not answer is a banner, never the end. Does not belong here: how a row is made (`viewmodels`).
"""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static
from textual.worker import Worker, WorkerState

from oakctl.model.events import Event
from oakctl.tui.plain import plain, plain_text
from oakctl.tui.root_reader import Connect, look
from oakctl.tui.screens.help import HelpScreen
from oakctl.tui.viewmodels import rows, topology
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.words import count
from oakctl.tui.widgets.bounded_log import BoundedLog
from oakctl.tui.widgets.keyed_table import KeyedTable

POLL_S = 1.0
FLUSH_S = 0.25
FIRST_EVENTS = 200


class FleetScreen(Screen[None]):
    """Topology above services above events."""

    CSS = """
    #title { height: 1; background: $panel; padding: 0 1; }
    #banner { display: none; height: 1; background: $error; padding: 0 1; }
    #banner.-shown { display: block; }
    .panel { border: round $primary-darken-2; border-title-color: $text-muted; }
    .panel:focus { border: round $accent; }
    #topology { height: 3fr; min-height: 5; }
    #services { height: 2fr; min-height: 4; }
    #events { height: 2fr; min-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "fold", "Fold", tooltip="hide or show what is below a line"),
        Binding("r", "refresh_now", "Refresh", tooltip="ask the root now"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="this page"),
        Binding("q", "app.leave", "Quit", tooltip="leave"),
    ]

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect
        self._snapshot = Snapshot(0.0)
        self._folded: frozenset[str] = frozenset()
        self._last_event = -FIRST_EVENTS
        self._new_lines: list[Text] = []
        self.note = ""  # what the title says besides

    def compose(self) -> ComposeResult:
        """Title, banner, panels, keys."""
        yield Static(id="title")
        yield Static(id="banner")
        yield from self.compose_panels()
        yield Footer(show_command_palette=False)

    def compose_panels(self) -> ComposeResult:
        """Everything between banner and keys."""
        with Vertical():
            yield self.topology_panel()
            yield self.services_panel()
            yield self.events_panel()

    @staticmethod
    def topology_panel() -> KeyedTable:
        """The tree of the fleet."""
        return _titled(KeyedTable(topology.COLUMNS, id="topology", classes="panel"), "Topology")

    @staticmethod
    def services_panel() -> KeyedTable:
        """What is wanted and what there is."""
        return _titled(KeyedTable(rows.SERVICE_COLUMNS, id="services", classes="panel"), "Services")

    @staticmethod
    def events_panel() -> BoundedLog:
        """The timeline."""
        log = BoundedLog(id="events", classes="panel")
        log.border_title = "Events"
        return log

    def on_mount(self) -> None:
        """Begin to look and to listen."""
        self._draw()
        self.set_interval(POLL_S, self._tick)
        self.set_interval(FLUSH_S, self._flush)
        self._tick()

    def _tick(self) -> None:
        # The age of a heartbeat grows whether the root answers or not.
        self._draw()
        if not self.ready_to_look():
            return
        running = {worker.group for worker in self.workers if not worker.is_finished}
        if "poll" not in running:
            self._watch()
        if "follow" not in running:
            self.run_worker(self._follow(), group="follow", exit_on_error=False)

    def ready_to_look(self) -> bool:
        """Whether there is a root to be asked."""
        return True

    def _watch(self) -> None:
        self.run_worker(self._poll(), group="poll", exclusive=True, exit_on_error=False)

    # Each of the two ends when the root fails it; the next tick begins anew, newly connected.

    async def _poll(self) -> None:
        async with self._connect() as root:
            while True:
                self._snapshot = await look(root, time.time())
                self.query("#banner").remove_class("-shown")
                self._draw()
                await asyncio.sleep(POLL_S)

    async def _follow(self) -> None:
        async with self._connect() as root:
            async for event in root.events(self._last_event, follow=True):
                self._last_event = event.id
                self._new_lines.append(plain_text(_line(event), rows.event_tone(event)))

    def has_panels(self) -> bool:
        """Whether there is anything to draw on: not while the app starts or ends."""
        return self.is_attached and bool(self.query("#topology")) and bool(self.query("Footer"))

    def _flush(self) -> None:
        if self._new_lines and self.has_panels():
            lines, self._new_lines = self._new_lines, []
            self.query_one("#events", BoundedLog).feed(lines)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What fails in the background is told, and tried again at the next tick."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self.show_banner(str(event.worker.error) or type(event.worker.error).__name__)

    def show_banner(self, message: str) -> None:
        """Tell of a fault until the root answers again."""
        if not self.has_panels():
            return
        banner = self.query_one("#banner", Static)
        seen = self._snapshot.taken_at
        age = f"  (what is shown is {int(time.time() - seen)} s old)" if seen else ""
        banner.update(plain(f"✗ {message}{age}"))
        banner.add_class("-shown")

    def _draw(self) -> None:
        if not self.has_panels():
            return
        snapshot, now = self._snapshot, time.time()
        self.query_one("#topology", KeyedTable).show(topology.rows(snapshot, now, self._folded))
        for table in self.query("#services").results(KeyedTable):
            table.show(rows.services(snapshot.services))
        self.query_one("#title", Static).update(plain(self.note + title(snapshot)))

    def action_fold(self) -> None:
        """Hide or show what is below the line under the cursor."""
        key = self.query_one("#topology", KeyedTable).selected_key
        self._folded = self._folded ^ {key}
        self._draw()

    def action_refresh_now(self) -> None:
        """Ask now instead of within a second."""
        self._watch()

    def action_help(self) -> None:
        """Show the keys."""
        keys: dict[str, Binding] = {}
        for kind in type(self).__mro__:
            for binding in kind.__dict__.get("BINDINGS", ()):
                # Those that have a tooltip are ours; the nearest class says what a key does.
                if isinstance(binding, Binding) and binding.tooltip:
                    keys.setdefault(binding.key, binding)
        self.app.push_screen(HelpScreen(keys.values()))


def title(snapshot: Snapshot) -> str:
    """The line on top."""
    if snapshot.root is None:
        return "oakctl: waiting for the root"
    root = snapshot.root
    return (
        f"oakctl {root.version}   root {root.pid}   {count(root.clusters, 'cluster')}   "
        f"{count(root.workers, 'worker')}   {count(root.instances_running, 'instance')} running"
    )


def _line(event: Event) -> str:
    clock = datetime.datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S")
    return rows.event_line(event, clock, short=True)


def _titled(table: KeyedTable, words: str) -> KeyedTable:
    table.border_title = words
    return table
