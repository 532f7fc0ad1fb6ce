"""The overlay: addresses and where they lead, pairs and their ways, what is wrong.

Belongs here: its panels, and asking for what they show while somebody looks. Does not belong here:
the words (`viewmodels.overlay`), tries and traces (`tui.doing`).
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from oakctl.errors import OakError
from oakctl.model.overlay_views import OverlayView, PairView
from oakctl.tui.actions import View
from oakctl.tui.plain import plain_lines
from oakctl.tui.screens.view import FleetView, titled
from oakctl.tui.viewmodels import overlay
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.widgets.keyed_table import KeyedTable

AGAIN_S = 2.0


class OverlayScreen(FleetView):
    """Clusters are asked while this is looked at, and not otherwise."""

    DEFAULT_CSS = """
    #summary { height: auto; max-height: 6; padding: 0 1; }
    #list, #pairs { height: 2fr; min-height: 4; }
    #troubles { height: 1fr; min-height: 4; }
    """
    view: ClassVar[View] = View.OVERLAY

    def __init__(self) -> None:
        super().__init__()
        self._told = OverlayView(0.0)
        self._fault = ""

    def compose_panels(self) -> ComposeResult:
        """How it is, and three tables."""
        yield Static(id="summary", classes="panel")
        addresses = KeyedTable(overlay.ADDRESS_COLUMNS, id="list", classes="panel filtered")
        yield titled(addresses, "Service addresses")
        pairs = KeyedTable(overlay.PAIR_COLUMNS, id="pairs", classes="panel filtered")
        yield titled(pairs, "Paths")
        troubles = KeyedTable(overlay.TROUBLE_COLUMNS, id="troubles", classes="panel filtered")
        yield titled(troubles, "Problems")

    def on_mount(self) -> None:
        """Begin to ask."""
        self.run_worker(self._ask(), group="overlay", exit_on_error=False)

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """All panels."""
        lines = [*overlay.summary(self._told, now, self._fault)]
        self.query_one("#summary", Static).update(plain_lines(lines))
        for name, rows in (
            ("#list", overlay.address_rows(self._told, self.shown)),
            ("#pairs", overlay.pair_rows(self._told, self.shown)),
            ("#troubles", overlay.trouble_rows(self._told, self.shown)),
        ):
            self.query_one(name, KeyedTable).show(rows)

    def selected(self) -> tuple[str, str]:
        """What the cursor of the table in focus is on."""
        focused = self.focused
        if not isinstance(focused, KeyedTable):
            focused = self.query_one("#list", KeyedTable)
        kind, _, name = focused.selected_key.partition(":")
        if kind == "service":
            name = name.partition(" ")[0]
        return kind, name

    def pair(self) -> PairView | None:
        """The one under the cursor of its table."""
        key = self.query_one("#pairs", KeyedTable).selected_key
        return next((each for each in self._told.pairs if overlay.pair_key(each) == key), None)

    def node_for(self, job_name: str) -> str:
        """A node that knows the service; empty: none does."""
        for node in self._told.nodes:
            if any(table.job_name == job_name for table in node.tables):
                return f"{node.cluster}/{node.name}"
        return ""

    async def _ask(self) -> None:
        while True:
            if self.is_current:
                try:
                    async with self.oak.feed.connect() as root:
                        self._told = await root.overlay.view()
                    self._fault = ""
                except OakError as error:
                    self._fault = error.message
                self.refresh_view()
            await asyncio.sleep(AGAIN_S)
