"""Driving an app without a terminal: waiting for what it shows, and reading that as text."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from oakctl.tui.app import OakApp
from oakctl.tui.widgets.keyed_table import KeyedTable

SIZE = (120, 40)
SMALL = (80, 24)


async def until(pilot: Pilot[None], condition: Callable[[], bool], *, steps: int = 1000) -> None:
    """Let the app run until `condition` holds; the only place that waits."""
    for _ in range(steps):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("what was waited for did not happen")


def texts(app: OakApp) -> str:
    """Everything that is drawn, as text."""
    compositor = app.screen._compositor
    return "\n".join(strip.text for strip in compositor.render_strips())


def table(app: OakApp, name: str) -> KeyedTable:
    return app.screen.query_one(name, KeyedTable)


async def ready(pilot: Pilot[None], app: OakApp) -> None:
    """Until the root was asked once and the timeline was heard."""
    await until(pilot, lambda: app.feed.snapshot.taken_at > 0 and app.feed.told > 0)
