"""Themes, and terminals that cannot draw everything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from oakctl.errors import UsageError
from oakctl.tui.actions import View
from oakctl.tui.app import FleetApp
from oakctl.tui.looks import themes
from oakctl.tui.looks.glyphs import VARIABLE, Glyphs, drawn, glyphs_of
from tests.tui import fleet
from tests.tui.driving import SMALL, ready, texts, until


@pytest.mark.parametrize(
    ("environment", "glyphs"),
    [
        ({}, Glyphs.UNICODE),
        ({"LANG": "de_DE.UTF-8", "TERM": "xterm-256color"}, Glyphs.UNICODE),
        ({"LANG": "C.utf8"}, Glyphs.UNICODE),
        ({"LANG": "C"}, Glyphs.ASCII),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.ISO-8859-1"}, Glyphs.ASCII),
        ({"LC_ALL": "", "LANG": "en_GB.UTF-8", "TERM": "linux"}, Glyphs.CONSOLE),
        ({"LANG": "C", VARIABLE: "unicode"}, Glyphs.UNICODE),
        ({VARIABLE: "ASCII"}, Glyphs.ASCII),
    ],
)
def test_what_a_terminal_can_draw(environment: dict[str, str], glyphs: Glyphs) -> None:
    assert glyphs_of(environment) is glyphs


def test_a_word_for_none_of_them_is_refused() -> None:
    with pytest.raises(UsageError, match="none of unicode, console, ascii"):
        glyphs_of({VARIABLE: "fancy"})


@given(st.text())
def test_nothing_moves(text: str) -> None:
    for glyphs in Glyphs:
        assert cell_len(drawn(text, glyphs)) == cell_len(text)
    assert drawn(text, Glyphs.ASCII).isascii()


def test_what_stands_for_what() -> None:
    assert drawn("╭─ ● ready ─╮ café 世", Glyphs.ASCII) == "+- * ready -+ cafe ??"
    assert drawn("╭─ ● ready ─╮ café 世", Glyphs.CONSOLE) == "┌─ * ready ─┐ café ??"


@pytest.mark.parametrize("view", list(FleetApp.VIEWS))
@pytest.mark.parametrize("glyphs", [Glyphs.CONSOLE, Glyphs.ASCII])
async def test_all_views_keep_to_it(
    view: View, glyphs: Glyphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, glyphs.value)
    app = FleetApp(fleet.friendly().connect)
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot, app)
        await app.go_to(view)
        await until(pilot, lambda: len(texts(app).splitlines()) == SMALL[1])
        shown = texts(app)
    assert shown == drawn(shown, glyphs)
    assert {len(line) for line in shown.splitlines()} == {SMALL[0]}


async def test_colours_are_chosen_and_remembered(own_directories: Path) -> None:
    app = FleetApp(fleet.friendly().connect)
    async with app.run_test(size=SMALL) as pilot:
        await ready(pilot, app)
        assert app.theme == "oak-dark"
        await pilot.press("T")
        await until(pilot, lambda: app.theme == "oak-light")
        await pilot.press(*":theme light", "enter")
        await pilot.press("r")
        assert app.theme == "oak-light"
    again = FleetApp(fleet.friendly().connect)
    assert again.theme == "oak-light"
    assert stat.S_IMODE(themes.paths.state_directory().stat().st_mode) == 0o700


def test_which_colours_fit(own_directories: Path) -> None:
    assert themes.remembered({"COLORFGBG": "0;15"}) == "light"
    assert themes.remembered({"COLORFGBG": "15;default;0"}) == "dark"
    themes.remember("dark")
    assert themes.remembered({"COLORFGBG": "0;15"}) == "dark"
    with pytest.raises(UsageError, match="no theme"):
        themes.named("pink", "dark")
