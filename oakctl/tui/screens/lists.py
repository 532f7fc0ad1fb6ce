"""Services, nodes, instances and events: one table each, with what the cursor is on below it.

Belongs here: which rows, and what is told of the selected one. Does not belong here: how a row is
made (`viewmodels`), what a key does (`tui.doing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from oakctl.model.events import Event
from oakctl.tui.actions import View
from oakctl.tui.plain import plain_lines
from oakctl.tui.screens.view import FleetView, titled
from oakctl.tui.viewmodels import instances, nodes, services, timeline
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.widgets.keyed_table import KeyedTable, TableRow


class ListView(FleetView):
    """One table; `kind` is what its rows are, `prefix` what their keys begin with."""

    columns: ClassVar[Sequence[str]]
    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.look_for = ""  # a key that gets the cursor as soon as it is there

    def compose_panels(self) -> ComposeResult:
        """The table."""
        table = KeyedTable(self.columns, id="list", classes="panel main filtered")
        yield titled(table, self.view.value)

    @property
    def table(self) -> KeyedTable:
        """The table."""
        return self.query_one("#list", KeyedTable)

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """The rows."""
        self.table.show(self.rows(snapshot, now))
        if self.look_for and self.table.select(self.look_for):
            self.look_for = ""

    def rows(self, snapshot: Snapshot, now: float) -> Sequence[TableRow]:
        """What is in the table."""
        raise NotImplementedError

    def selected(self) -> tuple[str, str]:
        """The row under the cursor."""
        key = self.table.selected_key
        return (self.kind, key.removeprefix(f"{self.kind}:")) if key else ("", "")


class ServicesScreen(ListView):
    """Services."""

    view: ClassVar[View] = View.SERVICES
    columns: ClassVar[Sequence[str]] = services.COLUMNS
    kind: ClassVar[str] = "service"

    def rows(self, snapshot: Snapshot, now: float) -> Sequence[TableRow]:
        """One for each service."""
        return services.rows(snapshot, now, self.shown)


class InstancesScreen(ListView):
    """Instances."""

    view: ClassVar[View] = View.INSTANCES
    columns: ClassVar[Sequence[str]] = instances.COLUMNS
    kind: ClassVar[str] = "instance"

    def rows(self, snapshot: Snapshot, now: float) -> Sequence[TableRow]:
        """One for each instance."""
        return instances.rows(snapshot, now, self.shown)


class NodesScreen(ListView):
    """Workers, and the selected one in full."""

    DEFAULT_CSS = """
    #details { height: 10; padding: 0 1; }
    """
    view: ClassVar[View] = View.NODES
    columns: ClassVar[Sequence[str]] = nodes.COLUMNS
    kind: ClassVar[str] = "worker"

    def compose_panels(self) -> ComposeResult:
        """The table, and below it facts and usage."""
        yield from super().compose_panels()
        yield Static(id="details", classes="panel")

    def rows(self, snapshot: Snapshot, now: float) -> Sequence[TableRow]:
        """One for each worker."""
        return nodes.rows(snapshot, now, self.shown)

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """The table and the selected worker."""
        super().draw(snapshot, now)
        self._tell(snapshot, now)

    def on_keyed_table_moved(self) -> None:
        """The cursor is on another one."""
        self._tell(self.snapshot, self.oak.feed.clock())

    def _tell(self, snapshot: Snapshot, now: float) -> None:
        name = self.selected()[1]
        found = [w for w in snapshot.workers if f"{w.cluster}/{w.name}" == name]
        lines = [*nodes.details(found[0], now)] if found else ["no worker yet: oakctl init"]
        self.query_one("#details", Static).update(plain_lines(lines))


class EventsScreen(ListView):
    """The timeline; it follows while the cursor is on its last line."""

    view: ClassVar[View] = View.EVENTS
    columns: ClassVar[Sequence[str]] = timeline.COLUMNS
    kind: ClassVar[str] = "event"

    def __init__(self) -> None:
        super().__init__()
        self._follows = True

    def rows(self, snapshot: Snapshot, now: float) -> Sequence[TableRow]:
        """The kept events, oldest first."""
        return timeline.rows(self.oak.feed.events, self.shown)

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """The rows; who reads further up is left there."""
        table = self.table
        super().draw(snapshot, now)
        if self._follows and not table.is_at_end:
            table.action_end(True)
        table.border_title = f"Events, {'following' if self._follows else 'standing still'}"

    def on_keyed_table_moved(self) -> None:
        """To go up is to stop following, to reach the end to follow again."""
        self._follows = self.table.is_at_end
        self.table.border_title = f"Events, {'following' if self._follows else 'standing still'}"

    def on_follow_asked(self) -> None:
        """Go on to the newest line, or stay."""
        self._follows = not self._follows
        self.refresh_view()

    def event(self) -> Event | None:
        """The one under the cursor."""
        key = self.table.selected_key
        return next((each for each in self.oak.feed.events if str(each.id) == key), None)
