"""One instance: what it is now, the story of its states, and what it prints.

Belongs here: the three panels and their refreshing. Does not belong here: the words of the first
two (`viewmodels.instances`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from oakctl.errors import OakError
from oakctl.model.events import Event
from oakctl.tui.actions import View
from oakctl.tui.plain import plain_lines, plain_text
from oakctl.tui.screens.view import FleetView, titled
from oakctl.tui.viewmodels import instances
from oakctl.tui.viewmodels.log_lines import LogLines
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.status import Tone
from oakctl.tui.widgets.bounded_log import BoundedLog
from oakctl.tui.widgets.keyed_table import KeyedTable

TAIL_BYTES = 65536
AGAIN_S = 2.0


class InstanceScreen(FleetView):
    """Esc goes back."""

    DEFAULT_CSS = """
    #details { height: auto; max-height: 9; padding: 0 1; }
    #story { height: 1fr; min-height: 4; }
    #log { height: 2fr; min-height: 4; }
    """
    view: ClassVar[View] = View.INSTANCE

    def __init__(self, name: str) -> None:
        super().__init__()
        self._instance = name
        self._lines = LogLines()
        self._story: Sequence[Event] = ()

    def compose_panels(self) -> ComposeResult:
        """What it is, what happened, what it prints."""
        yield Static(id="details", classes="panel")
        table = KeyedTable(instances.STORY_COLUMNS, id="story", classes="panel")
        yield titled(table, "States")
        log = BoundedLog(id="log", classes="panel")
        log.border_title = "Log"
        yield log

    def on_mount(self) -> None:
        """Ask for the story and the log."""
        self.run_worker(self._tell_story(), group="story", exit_on_error=False)
        self.run_worker(self._follow_log(), group="log", exit_on_error=False)

    def selected(self) -> tuple[str, str]:
        """This one."""
        return "instance", self._instance

    def draw(self, snapshot: Snapshot, now: float) -> None:
        """What it is now, and how it came to that."""
        found = next((each for each in snapshot.instances if each.name == self._instance), None)
        heard = {cluster.name: cluster.last_seen for cluster in snapshot.clusters}
        if found is None:
            lines = [f"{self._instance}: it is not there any more"]
        else:
            lines = [*instances.details(found, heard.get(found.cluster, 0.0), now)]
        self.query_one("#details", Static).update(plain_lines(lines))
        story = instances.story(self._story, now, "%H:%M:%S")
        self.query_one("#story", KeyedTable).show(story)

    async def _tell_story(self) -> None:
        seen = -1
        while True:
            told = self.oak.feed.told
            if told != seen:
                with contextlib.suppress(OakError):  # the banner says it; what was told stays
                    async with self.oak.feed.connect() as root:
                        self._story = await root.history(self._instance)
                    seen = told
                    self.refresh_view()
            await asyncio.sleep(1.0)

    async def _follow_log(self) -> None:
        """Its output as it comes; where there is none, why, and another try."""
        told = ""
        while True:
            try:
                async with self.oak.feed.connect() as root:
                    async for chunk in root.logs(self._instance, TAIL_BYTES, follow=True):
                        self._feed(self._lines.take(chunk))
                self._feed([*self._lines.rest(), "— it has ended; nothing more will come"])
                return
            except OakError as error:
                if error.message != told:
                    told = error.message
                    self._feed([f"no log: {told}"], Tone.WARNING)
            await asyncio.sleep(AGAIN_S)

    def _feed(self, lines: list[str], tone: Tone | None = None) -> None:
        if lines and self.has_panels():
            log = self.query_one("#log", BoundedLog)
            log.feed(plain_text(line, tone) for line in lines)

    def on_follow_asked(self) -> None:
        """Go to the newest line of the log, which goes on there."""
        self.query_one("#log", BoundedLog).scroll_end(animate=False)
