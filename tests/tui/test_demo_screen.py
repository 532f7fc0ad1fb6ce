"""The demonstration's screen, with pictures and text from elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from oakctl.demo.observer import Box, DemoObserver, DemoSample, Picture
from oakctl.tui import run
from oakctl.tui.app import DemoApp
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.viewmodels.demo import DemoProgress
from oakctl.tui.widgets.camera import Camera

from . import fleet
from .driving import SIZE, texts, until


def told(text: str = "[/x]") -> DemoProgress:
    progress = DemoProgress()
    progress.step("lab up", "done", 1.5, "7 hosts")
    progress.step(text, "running", 0.0, text)
    nan = float("nan")
    boxes = (Box(2, 3, 9, 9, "circle", True), Box(nan, -5, 1e300, 4, text, None))
    progress.picture(Picture(16, 12, bytes(range(192)), boxes, 7))
    progress.sample(DemoSample(14.5, 41.0, 62.0, 0.98))
    return progress


def test_figures_and_steps_in_words() -> None:
    progress = told()
    assert progress.figures() == (
        "frames per second  14.5   labels right  98%",
        "latency  41 ms   95 of 100 below 62 ms",
    )
    assert [row.key for row in progress.rows()] == ["lab up", "[/x]"]
    progress.step("lab up", "failed", 2, "no")
    assert progress.rows()[0].cells[0].text == "✗ failed"
    assert DemoProgress().figures()[0].endswith("-")


def test_box_that_nobody_can_judge_is_not_shown_as_wrong() -> None:
    assert [box.right for box in told().boxes()] == [True, True]


@pytest.mark.parametrize("size", [(80, 24), SIZE])
@pytest.mark.parametrize("text", fleet.HOSTILE, ids=range(len(fleet.HOSTILE)))
async def test_shows_everything_whatever_it_is(text: str, size: tuple[int, int]) -> None:
    progress = told(text)
    app = DemoApp(fleet.hostile(text).connect, progress, lambda: None)
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        await until(pilot, lambda: "circle" in texts(app) and "├─" in texts(app))
        drawn = texts(app)
        progress.picture(Picture(16, 12, b"short", (), 8))
        progress.step("tear down", "failed", 1.0, text)
        await until(pilot, lambda: "▀" not in texts(app))
    assert "frames per second  14.5" in drawn
    assert "● done" in drawn
    assert "\x1b" not in drawn


async def test_camera_draws_anew_after_a_resize() -> None:
    app = DemoApp(fleet.friendly().connect, told(), lambda: None)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: "▀▀▀" in texts(app))
        wide = app.screen.query_one(Camera).size.width
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.screen.query_one(Camera).size.width < wide)
        await until(pilot, lambda: "▀▀▀" in texts(app))


async def test_quit_asks_and_the_app_stays_until_all_is_torn_down() -> None:
    stopped: list[bool] = []
    app = DemoApp(fleet.friendly().connect, told(), lambda: stopped.append(True))
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert not stopped
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "tearing down" in texts(app))
        assert stopped == [True]
        await pilot.press("q")
        await pilot.pause()
        assert not isinstance(app.screen, ConfirmScreen)
        assert app.is_running


class _Headless(DemoApp):
    """The app as `show_demo` runs it, without a terminal."""

    shown: _Headless

    async def run_async(self, **options: Any) -> None:
        _Headless.shown = self
        await super().run_async(headless=True, size=SIZE)


async def test_play_is_brought_to_its_end_when_the_app_ends_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "DemoApp", _Headless)
    monkeypatch.setattr(run, "RootClient", fleet.friendly().connect)
    said: list[str] = []

    async def play(observer: DemoObserver) -> str:
        observer.step("lab up", "done", 1.0, "")
        try:
            await asyncio.Event().wait()
        finally:
            observer.step("tear down", "done", 2.0, "nothing is left")
        return "never"

    task = asyncio.create_task(run.show_demo(play, said.append))
    async with asyncio.timeout(30):
        while not (hasattr(_Headless, "shown") and _Headless.shown.is_running):
            await asyncio.sleep(0.02)
        _Headless.shown.exit(return_code=143)
        assert await task == (None, 143)
    assert said == ["tear down done nothing is left"]


async def test_app_ends_with_the_play_and_gives_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "DemoApp", _Headless)
    monkeypatch.setattr(run, "RootClient", fleet.friendly().connect)

    async def play(observer: DemoObserver) -> str:
        observer.step("lab up", "done", 1.0, "")
        await asyncio.sleep(0)
        return "report"

    async with asyncio.timeout(30):
        assert await run.show_demo(play, lambda line: None) == ("report", 0)
