"""What all tests of the app share: a terminal that can draw everything, whatever runs them."""

from __future__ import annotations

import pytest

from oakctl.tui.looks.glyphs import VARIABLE


@pytest.fixture(autouse=True)
def everything_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "unicode")
