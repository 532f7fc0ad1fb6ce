"""Each view as text, at two sizes, and what its keys do to the fleet: nothing without a yes.

The goldens are files; OAKCTL_GOLDENS=write writes them anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from oakctl.model.events import Event
from oakctl.tui import actions
from oakctl.tui.actions import View
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.ask import AskScreen
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.instance import InstanceScreen
from oakctl.tui.screens.view import FleetView
from oakctl.tui.viewmodels.filters import Filter
from oakctl.tui.widgets.bounded_log import BoundedLog
from oakctl.tui.widgets.keyed_table import KeyedTable

from . import fleet
from .driving import SIZE, SMALL, ready, table, texts, until

GOLDENS = Path(__file__).parent / "goldens"
WRITES = os.environ.get("OAKCTL_GOLDENS") == "write"
TO_VIEW = {
    View.FLEET: "1",
    View.SERVICES: "2",
    View.NODES: "3",
    View.INSTANCES: "4",
    View.EVENTS: "5",
    View.OVERLAY: "6",
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are the same wherever the test runs."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def app_of(root: fleet.FakeRoot, *, read_only: bool = False) -> FleetApp:
    return FleetApp(root.connect, read_only=read_only, clock=lambda: fleet.NOW)


async def show(pilot: Pilot[None], app: FleetApp, view: View) -> None:
    """Go to a view, and wait until it shows what the root says."""
    await ready(pilot, app)
    if view is View.INSTANCE:
        app.push_screen(InstanceScreen("ar.default.Pre.default.instance.0"))
        await until(pilot, lambda: isinstance(app.screen, InstanceScreen))
        await until(pilot, lambda: bool(app.screen.query("#story")))
        await until(pilot, lambda: table(app, "#story").row_count > 0)
        await until(pilot, lambda: bool(app.screen.query_one("#log", BoundedLog).lines))
        return
    await pilot.press(TO_VIEW[view])
    await until(pilot, lambda: isinstance(app.screen, FleetView) and app.screen.view is view)
    await until(pilot, lambda: bool(app.screen.query("KeyedTable")))
    wanted = "#topology" if view is View.FLEET else "#list"
    await until(pilot, lambda: table(app, wanted).row_count > 0)


async def settled(pilot: Pilot[None]) -> None:
    """A golden is written of the last frame; one that is compared is waited for."""
    if WRITES:
        await pilot.pause(2.0)


def compare(app: FleetApp, name: str, size: tuple[int, int]) -> bool:
    """Whether what is drawn is the golden."""
    drawn = "\n".join(line.rstrip() for line in texts(app).splitlines()) + "\n"
    file = GOLDENS / f"{name}-{size[0]}x{size[1]}.txt"
    if WRITES:
        file.parent.mkdir(exist_ok=True)
        file.write_text(drawn, encoding="utf-8")
    return drawn == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [SMALL, SIZE])
@pytest.mark.parametrize("view", [*TO_VIEW, View.INSTANCE])
async def test_view_looks_as_it_did(view: View, size: tuple[int, int]) -> None:
    app = app_of(fleet.storied())
    async with app.run_test(size=size, notifications=True) as pilot:
        await show(pilot, app, view)
        # Drawn in beats: what is compared is the last of them.
        await settled(pilot)
        try:
            await until(pilot, lambda: compare(app, view.value.lower(), size), steps=150)
        except AssertionError:
            name = f"{view.value.lower()}-{size[0]}x{size[1]}.txt"
            golden = (GOLDENS / name).read_text(encoding="utf-8")
            drawn = "\n".join(line.rstrip() for line in texts(app).splitlines()) + "\n"
            assert drawn == golden


PAGES: dict[str, tuple[View, tuple[str, ...]]] = {
    "help": (View.NODES, ("question_mark",)),
    "explain": (View.SERVICES, ("end", "x")),
    "confirm": (View.NODES, ("d",)),
    "ask": (View.SERVICES, ("s",)),
}


@pytest.mark.parametrize("name", PAGES)
async def test_page_looks_as_it_did(name: str) -> None:
    view, keys = PAGES[name]
    app = app_of(fleet.storied())
    app.animation_level = "none"
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await show(pilot, app, view)
        await pilot.press(*keys)
        await until(pilot, lambda: not isinstance(app.screen, FleetView))
        for blinking in app.screen.query(Input):
            blinking.cursor_blink = False
        await settled(pilot)
        await until(pilot, lambda: compare(app, name, SMALL), steps=150)


@pytest.mark.parametrize("view", [*TO_VIEW, View.INSTANCE])
async def test_hostile_text_harms_no_view(view: View) -> None:
    app = app_of(fleet.hostile(*fleet.HOSTILE))
    async with app.run_test(size=SMALL, notifications=True, tooltips=True) as pilot:
        await show(pilot, app, view)
        for text in fleet.HOSTILE:
            app.say(text)
            app.say_error(fleet.unreachable_with(text))
            app.tell(text)
        for _ in fleet.HOSTILE:
            await pilot.press("down")
            await pilot.pause()
            assert "\x1b" not in texts(app)
        for text in fleet.HOSTILE:
            assert isinstance(app.screen, FleetView)
            app.screen.do_typed(text)
            app.screen.shown = Filter(text)
            app.screen.refresh_view()
        await pilot.pause()
        assert app.is_running
    assert app._exception is None


async def test_hostile_text_harms_no_dialog() -> None:
    app = app_of(fleet.hostile(*fleet.HOSTILE))
    async with app.run_test(size=SMALL, notifications=True, tooltips=True) as pilot:
        await show(pilot, app, View.SERVICES)
        for view, key in ((View.SERVICES, "x"), (View.SERVICES, "D"), (View.NODES, "d")):
            await pilot.press(TO_VIEW[view])
            await until(pilot, lambda: bool(app.screen.query("#list")))
            await pilot.press("home")
            for _ in fleet.HOSTILE:
                await pilot.press(key)
                await until(pilot, lambda: not isinstance(app.screen, FleetView))
                assert "\x1b" not in texts(app)
                await pilot.press("escape")
                await until(pilot, lambda: isinstance(app.screen, FleetView))
                await pilot.press("down")
    assert app._exception is None


def keys_of(view: View) -> list[str]:
    """Every key of the table, and those of tables and panels."""
    moving = ["up", "down", "pageup", "pagedown", "home", "end", "left", "right", "tab"]
    return [each.key for each in actions.on_view(view) if each.key != "q"] + moving


@pytest.mark.parametrize("view", [*TO_VIEW, View.INSTANCE])
async def test_no_key_changes_the_fleet_without_a_yes(view: View) -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, view)
        for key in keys_of(view):
            # Whatever opens, Enter does what has the focus, and that is never the change.
            await pilot.press(key)
            if isinstance(app.screen, AskScreen):
                await pilot.press("7", "enter")
                await until(pilot, lambda: not isinstance(app.screen, AskScreen))
            if isinstance(app.screen, ConfirmScreen):
                assert isinstance(app.focused, Button)
                assert app.focused.id == "no"
            await pilot.press("enter")
            assert root.changes == [], key
            await back(app, view)


async def back(app: FleetApp, view: View) -> None:
    """To the view, whatever is open above it."""
    if view is View.INSTANCE:
        while len(app.screen_stack) > 2:
            await app.pop_screen()
        await app.push_screen(InstanceScreen("ar.default.Pre.default.instance.0"))
    else:
        await app.go_to(view)
        app.screen.query_one(KeyedTable).focus()


YES: list[tuple[View, tuple[str, ...], tuple[object, ...]]] = [
    (View.SERVICES, ("s", "3", "enter"), ("scale", "ar.default.Pre.default", 3)),
    (View.SERVICES, ("R",), ("restart", "ar.default.Pre.default")),
    (
        View.INSTANCES,
        ("m", *"w2", "enter"),
        ("migrate", "ar.default.Pre.default.instance.0", "w2"),
    ),
    (View.SERVICES, ("D",), ("delete", "ar.default")),
    (View.NODES, ("c",), ("cordon", "cloud", "w1", True)),
    (View.NODES, ("u",), ("cordon", "cloud", "w1", False)),
    (View.NODES, ("end", "d"), ("drain", "edge", "w2")),
]


@pytest.mark.parametrize(("view", "keys", "change"), YES)
async def test_yes_makes_just_that_change(
    view: View, keys: tuple[str, ...], change: tuple[object, ...]
) -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, view)
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: bool(root.changes))
        assert root.changes == [change]


async def test_button_that_has_the_focus_is_what_enter_does() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.NODES)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("right", "enter")
        await until(pilot, lambda: root.changes == [("drain", "cloud", "w1")])


async def test_read_only_has_neither_key_nor_command_that_changes() -> None:
    root = fleet.storied()
    app = app_of(root, read_only=True)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        for view in (View.SERVICES, View.NODES):
            await show(pilot, app, view)
            shown = texts(app)
            for action in actions.ACTIONS:
                if action.changes and view in action.on:
                    assert action.title not in shown.splitlines()[-1]
                    await pilot.press(action.key)
                    await pilot.pause()
                    assert isinstance(app.screen, FleetView)
        assert isinstance(app.screen, FleetView)
        app.screen.do_typed("drain edge/w1")
        await until(pilot, lambda: "this is read-only" in texts(app))
    assert root.changes == []


async def test_typed_command_names_what_is_not_selected() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.EVENTS)
        await pilot.press("colon", *"scale Rec 4", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Scale ar.default.Rec.default from 1 to 4?" in texts(app)
        await pilot.press("y")
        await until(pilot, lambda: root.changes == [("scale", "ar.default.Rec.default", 4)])
        await pilot.press("colon", *"drain edge/none", "enter")
        await until(pilot, lambda: "there is no worker edge/none" in texts(app))


async def test_filter_is_typed_shown_kept_and_dropped() -> None:
    app = app_of(fleet.storied())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.NODES)
        await pilot.press("slash", *"cluster=edge", "enter")
        await until(pilot, lambda: table(app, "#list").row_count == 2)
        assert "/cluster=edge" in texts(app)
        await show(pilot, app, View.EVENTS)
        await show(pilot, app, View.NODES)
        assert table(app, "#list").row_count == 2
        await pilot.press("escape")
        await until(pilot, lambda: table(app, "#list").row_count == 3)


async def test_events_follow_until_somebody_goes_up_and_enter_leads_to_the_thing() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.EVENTS)
        await until(pilot, lambda: table(app, "#list").row_count == 6)
        assert table(app, "#list").selected_key == "6"
        assert "following" in texts(app)
        await pilot.press("up")
        await until(pilot, lambda: "standing still" in texts(app))
        assert table(app, "#list").selected_key == "5"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InstanceScreen))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, InstanceScreen))
        await pilot.press("end", "enter")
        await until(pilot, lambda: bool(app.screen.query("#details")))
        await until(pilot, lambda: table(app, "#list").selected_key == "worker:edge/w2")


async def test_story_of_an_instance_grows_older_also_when_the_root_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, passed, asked = fleet.storied(), 0.0, 0

    async def history(subject: str) -> list[Event]:
        nonlocal asked
        asked += 1
        raise fleet.unreachable()

    app = FleetApp(root.connect, clock=lambda: fleet.NOW + passed)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.INSTANCE)
        assert table(app, "#story")._rows[0].cells[1].text == "30s"
        monkeypatch.setattr(root, "history", history)
        app.feed.told += 1
        passed = 60.0
        await until(pilot, lambda: asked > 1)
        await until(
            pilot, lambda: [r.cells[1].text for r in table(app, "#story")._rows][:1] == ["90s"]
        )


async def test_log_of_an_instance_without_a_place_says_why_and_tries_again() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await ready(pilot, app)
        root.failing = fleet.unreachable_with("ar Rec has no place yet: it waits")
        app.push_screen(InstanceScreen("ar.default.Rec.default.instance.0"))
        await until(pilot, lambda: "no log: ar Rec has no place yet" in texts(app))
        root.failing = None
        await until(pilot, lambda: "frame 2" in texts(app), steps=2000)


@pytest.mark.parametrize("view", [*TO_VIEW, View.INSTANCE])
async def test_tiny_terminal_and_back(view: View) -> None:
    app = app_of(fleet.storied())
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await show(pilot, app, view)
        for size in ((20, 5), (1, 1), SMALL):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda size=size: app.size == size)  # type: ignore[misc]
            for key in ("down", "end", "question_mark", "escape"):
                await pilot.press(key)
                await pilot.pause()
        await until(pilot, lambda: "q Quit" in texts(app))
    assert app._exception is None


async def test_clicks_go_to_tabs_and_open_rows() -> None:
    app = app_of(fleet.storied())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await show(pilot, app, View.FLEET)
        await pilot.click("#title", offset=(texts(app).splitlines()[0].index("4 Inst"), 0))
        await until(
            pilot, lambda: isinstance(app.screen, FleetView) and app.screen.view is View.INSTANCES
        )
        await until(pilot, lambda: table(app, "#list").row_count == 2)
        await pilot.click("#list", offset=(5, 3))
        await until(pilot, lambda: table(app, "#list").cursor_row == 1)
        await pilot.click("#list", offset=(5, 3), times=2)
        await until(pilot, lambda: isinstance(app.screen, InstanceScreen))
