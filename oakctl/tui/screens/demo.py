"""The demonstration: the fleet beside what the application on it sees.

Belongs here: camera, figures and steps beside topology and events. Does not belong here: what
the demonstration does (`oakctl.demo`).
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Sparkline, Static

from oakctl.tui.actions import View
from oakctl.tui.plain import plain
from oakctl.tui.screens.fleet import FleetScreen
from oakctl.tui.viewmodels import demo
from oakctl.tui.viewmodels.demo import DemoProgress
from oakctl.tui.widgets.camera import Camera
from oakctl.tui.widgets.keyed_table import KeyedTable

DRAW_S = 0.25


class DemoScreen(FleetScreen):
    """Two columns: the fleet and its events; the picture, its figures and the steps."""

    DEFAULT_CSS = """
    #left { width: 3fr; }
    #right { width: 2fr; }
    #camera { height: 3fr; min-height: 4; content-align: center middle; }
    .figure { height: 1; padding: 0 1; }
    Sparkline { height: 1; margin: 0 1; }
    #steps { height: 2fr; min-height: 4; }
    """
    view: ClassVar[View] = View.DEMO

    def __init__(self, progress: DemoProgress) -> None:
        super().__init__()
        self._progress = progress
        self._drawn = -1

    def compose_panels(self) -> ComposeResult:
        """The two columns."""
        with Horizontal():
            with Vertical(id="left"):
                yield self.topology_panel()
                yield self.events_panel()
            with Vertical(id="right"):
                camera = Camera(id="camera", classes="panel")
                camera.border_title = "Camera"
                yield camera
                yield Static(id="fps", classes="figure")
                yield Sparkline(id="fps-line")
                yield Static(id="latency", classes="figure")
                yield Sparkline(id="latency-line")
                steps = KeyedTable(demo.COLUMNS, id="steps", classes="panel")
                steps.border_title = "Steps"
                yield steps

    def on_mount(self) -> None:
        """Draw what the demonstration tells, a few times a second at most."""
        self.set_interval(DRAW_S, self._draw_progress)
        self._draw_progress()

    def _draw_progress(self) -> None:
        progress = self._progress
        if progress.changes == self._drawn or not self.has_panels():
            return
        self._drawn = progress.changes
        steps = self.query_one("#steps", KeyedTable)
        steps.show(progress.rows())
        if not steps.has_focus:  # the newest is looked at unless somebody reads
            steps.move_cursor(row=steps.row_count - 1, animate=False)
        fps, latency = progress.figures()
        self.query_one("#fps", Static).update(plain(fps))
        self.query_one("#latency", Static).update(plain(latency))
        self.query_one("#fps-line", Sparkline).data = progress.fps()
        self.query_one("#latency-line", Sparkline).data = progress.latency()
        picture = progress.latest
        if picture is not None:
            camera = self.query_one("#camera", Camera)
            camera.show(picture.width, picture.height, picture.pixels, progress.boxes())
