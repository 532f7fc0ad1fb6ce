"""The overlay's view: what its keys show, and its words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from oakctl.errors import Unreachable
from oakctl.model.overlay_views import OverlayView, PairView
from oakctl.tui.actions import View
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.lists import InstancesScreen
from oakctl.tui.screens.overlay import OverlayScreen
from oakctl.tui.screens.text import TextScreen
from oakctl.tui.viewmodels import overlay as words
from oakctl.tui.viewmodels.filters import Filter

from . import fleet, overlays
from .driving import SIZE, SMALL, ready, table, texts, until

NOW = fleet.NOW
VIEW = overlays.storied(NOW).given


def app_of(root: fleet.FakeRoot) -> FleetApp:
    return FleetApp(root.connect, clock=lambda: NOW)


async def shown(pilot: Pilot[None], app: FleetApp) -> None:
    await ready(pilot, app)
    await pilot.press("6")
    await until(pilot, lambda: isinstance(app.screen, OverlayScreen))
    await until(pilot, lambda: bool(app.screen.query("#list")))
    await until(pilot, lambda: table(app, "#list").row_count > 0)


async def page(pilot: Pilot[None], app: FleetApp, *keys: str) -> str:
    await pilot.press(*keys)
    await until(pilot, lambda: isinstance(app.screen, TextScreen) and bool(texts(app).strip()))
    await pilot.pause()
    return texts(app)


async def test_keys_open_the_path_the_trace_and_the_test() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await shown(pilot, app)
        assert "3. where calls go" in await page(pilot, app, "v")
        await pilot.press("escape")
        assert "refused: nothing listens there" in await page(pilot, app, "t")
        await pilot.press("escape", "tab", "down")
        assert "relay edge/hub" in await page(pilot, app, "enter")
        await pilot.press("escape")
        assert root.overlay.asked == [
            ("trace", overlays.PRE, "cloud/w1"),
            ("test",),
            ("route", "edge/w1", "cloud/w1"),
        ]
        assert isinstance(app.screen, OverlayScreen)
        app.screen.do_typed("trace Rec edge/w2")
        app.screen.do_typed("reach edge/w1")
        await until(pilot, lambda: len(root.overlay.asked) == 5)
        assert {*root.overlay.asked[3:]} == {
            ("trace", overlays.REC, "edge/w2"),
            ("test", "edge/w1"),
        }
    assert root.changes == []


async def test_enter_on_an_address_goes_to_its_instances() -> None:
    app = app_of(fleet.storied())
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await shown(pilot, app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InstancesScreen))
        assert app.screen.shown.text == f"service={overlays.PRE}"  # type: ignore[attr-defined]


async def test_a_root_that_fails_leaves_what_was_told_and_says_so() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await shown(pilot, app)
        root.overlay.failing = Unreachable("no such route")
        await until(pilot, lambda: "not asked: no such route" in texts(app))
        assert table(app, "#list").row_count > 0


async def test_clusters_are_not_asked_while_nobody_looks() -> None:
    root = fleet.storied()
    app = app_of(root)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await shown(pilot, app)
        await pilot.press("1")
        await until(pilot, lambda: not isinstance(app.screen, OverlayScreen))
        root.overlay.given = replace(VIEW, pairs=())
        asked = root.questions
        await until(pilot, lambda: root.questions > asked + 15)  # three seconds of looks
        screen = app.get_screen(View.OVERLAY.name)
        assert screen.query_one("#pairs").row_count == 3  # type: ignore[attr-defined]


# --- words ---------------------------------------------------------------------------------------


def cells(rows: object) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in rows]  # type: ignore[attr-defined]


def test_addresses_with_policy_and_where_they_lead() -> None:
    assert cells(words.address_rows(VIEW)) == [
        ["Pre", "balanced", "10.30.9.1", "3", "cloud/w1, edge/w1, edge/w2"],
        ["Pre", "closest", "10.30.9.2", "3", "cloud/w1, edge/w1, edge/w2"],
        ["Rec", "least loaded", "10.30.9.3", "0 of 1", "nowhere"],
    ]
    assert len(words.address_rows(VIEW, Filter("policy=closest"))) == 1


def test_pairs_with_path_round_trip_and_reason() -> None:
    assert cells(words.pair_rows(VIEW)) == [
        ["edge/w1", "edge/w2", "direct", "1.5 ms", "proven"],
        ["edge/w1", "cloud/w1", "by relay hub", "25.0 ms", "symmetric NAT; 2% lost"],
        ["edge/w2", "cloud/w1", "none", "-", "UDP is blocked"],
    ]
    assert len(words.pair_rows(VIEW, Filter("path=relay"))) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (-1.0, "-"), (0.0, "0.0 ms"), (0.01, "<0.1 ms"), (12.345, "12.3 ms")],
)
def test_round_trips(value: float | None, text: str) -> None:
    assert words.milliseconds(value) == text


def test_a_relay_without_a_name_is_known_by_its_endpoint() -> None:
    pair = PairView("a", "b", "relayed", "", endpoint="192.0.2.9:51820")
    assert words.path(pair) == "by relay 192.0.2.9:51820"


def test_the_summary_counts_and_tells_ages() -> None:
    assert [*words.summary(VIEW, NOW)] == [
        "nodes   1 alone, 2 full",
        "tables  late on edge/w2",
        "heard   cloud 5m00s ago, edge 1s ago",
    ]
    assert [*words.summary(OverlayView(0.0), NOW)] == ["asking the clusters"]
    assert [*words.summary(OverlayView(0.0), NOW, "gone")] == ["not asked: gone"]
    assert "none is late" in "\n".join(words.summary(OverlayView(NOW), NOW))


def test_pages_of_text() -> None:
    given = overlays.storied(NOW)
    trace = [*words.trace_lines(given.traced, NOW)]
    assert trace[0] == f"{overlays.PRE} from edge/w1 (kernel overlay), now"
    assert "   balanced       Pre.0 50%, Pre.1 50%: at random" in trace
    assert "   closest        Pre.0, local cable: on this node" in trace
    assert any("unreachable: its node does not answer, by relay hub" in line for line in trace)
    assert trace[-1] == "✗ edge/w1: something  → oakctl worker show edge/w1"
    told = [*words.tested_lines(given.tested)]
    assert told[:4] == [
        "from / to  edge/w1   edge/w2",
        "edge/w1    ● 0.2 ms  ✗ 1 of 2",
        "edge/w2    -         -",
        "",
    ]
    assert told[4] == "from edge/w1: 1 failed, 3 reached, 1 unknown"
    assert any("Pre closest" in line and "<0.1 ms" in line for line in told)
    assert told[-1] == "from edge/w2: it is dead"


def test_hostile_text_becomes_one_line_of_each_cell() -> None:
    given = overlays.hostile(NOW, fleet.HOSTILE)
    rows = (
        *words.address_rows(given.given),
        *words.pair_rows(given.given),
        *words.trouble_rows(given.given),
    )
    for row in rows:
        for cell in row.cells:
            assert "\x1b" not in cell.text
            assert "\n" not in cell.text
            assert len(cell.text) < 300
