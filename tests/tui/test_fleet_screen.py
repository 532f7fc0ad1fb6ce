"""The first screen, with friends, enemies and a root that does not answer."""

from __future__ import annotations

import pytest
from textual.widgets import Button, Static

from oakctl.model.views import OperationView
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.widgets.bounded_log import LONGEST_LOG, BoundedLog

from . import fleet
from .driving import SIZE, table, texts, until


async def test_shows_topology_services_and_events() -> None:
    app = FleetApp(fleet.friendly().connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(
            pilot, lambda: "runs on w1" in texts(app) and table(app, "#topology").row_count > 5
        )
        drawn = texts(app)
    for expected in ("├─ edge", "● running", "▲ pending", "0 vgpus free", "10.30.0.1", "Quit"):
        assert expected in drawn


@pytest.mark.parametrize("text", fleet.HOSTILE, ids=range(len(fleet.HOSTILE)))
async def test_hostile_text_is_shown_and_harms_nothing(text: str) -> None:
    root = fleet.hostile(text)
    app = FleetApp(root.connect)
    async with app.run_test(size=SIZE, notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: table(app, "#topology").row_count > 8)
        log = app.screen.query_one("#events", BoundedLog)
        await until(pilot, lambda: len(log.lines) == 3)
        app.tell(text)
        app.push_screen(ConfirmScreen(text, text))
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        drawn = texts(app)
        await pilot.press("n")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)
    assert "\x1b" not in drawn
    assert app.return_code == 0


async def test_root_that_does_not_answer_is_a_banner_and_not_the_end() -> None:
    root = fleet.friendly()
    root.failing = fleet.unreachable()
    app = FleetApp(root.connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: "no root answers at [/sock]" in texts(app))
        root.failing = RuntimeError("[/] a fault of ours")
        await until(pilot, lambda: "a fault of ours" in texts(app))
        root.failing = None
        await until(pilot, lambda: "├─ edge" in texts(app))
        banner = app.screen.query_one("#banner", Static)
        await until(pilot, lambda: not banner.has_class("-shown"))
        await pilot.press("q")
    assert app.return_code == 0


async def test_cursor_stays_with_its_row_while_rows_come_and_go() -> None:
    root = fleet.friendly()
    app = FleetApp(root.connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: table(app, "#topology").row_count == 9)
        topology = table(app, "#topology")
        topology.move_cursor(row=5)
        assert topology.selected_key == "instance:ar.default.Pre.default.instance.0"
        root.clusters_.append(fleet.cluster("alpha"))
        await until(pilot, lambda: topology.row_count == 10)
        assert topology.selected_key == "instance:ar.default.Pre.default.instance.0"
        assert topology.cursor_row == 6
        root.clusters_.pop()
        await until(pilot, lambda: topology.row_count == 9)
        assert topology.cursor_row == 5


async def test_space_folds_the_line_under_the_cursor() -> None:
    app = FleetApp(fleet.friendly().connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: table(app, "#topology").row_count == 9)
        table(app, "#topology").focus()
        table(app, "#topology").move_cursor(row=3)
        await pilot.press("space")
        await until(pilot, lambda: table(app, "#topology").row_count == 6)
        await pilot.press("space")
        await until(pilot, lambda: table(app, "#topology").row_count == 9)


async def test_help_names_the_keys() -> None:
    app = FleetApp(fleet.friendly().connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: "hide or show what is below a line" in texts(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 2)


async def test_leaving_during_work_on_hosts_asks_and_enter_is_no() -> None:
    root = fleet.friendly()
    root.operations_ = [OperationView(1, "worker add", "edge/[/w1", "running", 1.0)]
    app = FleetApp(root.connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert isinstance(app.focused, Button)
        assert app.focused.id == "no"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert app.is_running
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: not app.is_running)


async def test_log_stands_still_while_it_is_read_and_then_catches_up() -> None:
    from oakctl.tui.plain import plain_text

    app = FleetApp(fleet.FakeRoot().connect)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: bool(app.screen.query("#events")))
        log = app.screen.query_one("#events", BoundedLog)
        log.feed(plain_text(f"first {number}") for number in range(200))
        await until(pilot, lambda: log.scroll_y > 0)
        log.scroll_to(y=10, animate=False)
        await until(pilot, lambda: log.scroll_y == 10)
        before = log.lines[10].text
        log.feed(plain_text(f"later {number}") for number in range(3 * LONGEST_LOG))
        await pilot.pause()
        assert log.lines[10].text == before
        assert log.scroll_y == 10
        log.scroll_end(animate=False)
        await until(pilot, lambda: "later 5999" in log.lines[-1].text)
        assert len(log.lines) <= LONGEST_LOG
