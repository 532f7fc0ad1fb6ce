"""The fleet: topology, services and the timeline on one page.

Belongs here: its panels, which the demonstration shares. Does not belong here: how a row is made
(`viewmodels`).
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical

from oakctl.model.events import Event
from oakctl.tui.actions import View
from oakctl.tui.plain import plain_text
from oakctl.tui.screens.view import FleetView, titled
from oakctl.tui.viewmodels import rows, topology, words
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.widgets.bounded_log import BoundedLog
from oakctl.tui.widgets.keyed_table import KeyedTable


class FleetScreen(FleetView):
    """Topology above services above events."""

    DEFAULT_CSS = """
    #topology { height: 3fr; min-height: 5; }
    #services { height: 2fr; min-height: 4; }
    #events { height: 2fr; min-height: 4; }
    """
    view: ClassVar[View] = View.FLEET

    def __init__(self) -> None:
        super().__init__()
        self._folded: frozenset[str] = frozenset()
        self._told = 0

    def compose_panels(self) -> ComposeResult:
        """Three panels, one below the other."""
        with Vertical():
            yield self.topology_panel()
            yield self.services_panel()
            yield self.events_panel()

    @staticmethod
    def topology_panel() -> KeyedTable:
        """The tree of the fleet."""
        table = KeyedTable(topology.COLUMNS, id="topology", classes="panel filtered")
        return titled(table, "Topology")

    @staticmethod
    def services_panel() -> KeyedTable:
        """What is wanted and what there is."""
        return titled(KeyedTable(rows.SERVICE_COLUMNS, id="services", classes="panel"), "Services")

    @staticmethod
    def events_panel() -> BoundedLog:
        """The timeline."""
        log = BoundedLog(id="events", classes="panel")
        log.border_title = "Events"
        return log

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """All three panels."""
        tree = topology.rows(snapshot, now, self._folded, self.shown)
        self.query_one("#topology", KeyedTable).show(tree)
        for table in self.query("#services").results(KeyedTable):
            table.show(rows.services(snapshot.services))
        new = self.oak.feed.since(self._told)
        self._told = self.oak.feed.told
        if new:
            lines = [plain_text(_line(event), rows.event_tone(event)) for event in new]
            self.query_one("#events", BoundedLog).feed(lines)

    def selected(self) -> tuple[str, str]:
        """What the cursor of the panel in focus is on."""
        focused = self.focused
        if isinstance(focused, KeyedTable) and focused.id == "services":
            return "service", focused.selected_key
        kind, _, name = self.query_one("#topology", KeyedTable).selected_key.partition(":")
        return kind, name

    def on_fold_asked(self) -> None:
        """Hide or show what is below the line under the cursor."""
        key = self.query_one("#topology", KeyedTable).selected_key
        self._folded = self._folded ^ {key}
        self.refresh_view()


def _line(event: Event) -> str:
    return rows.event_line(event, words.clock(event.at), short=True)
