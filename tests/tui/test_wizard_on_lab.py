"""The wizard on real (loopback) hosts: from an empty state to a running application, by keys.

Only keys that the screens name are pressed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.fleet import reading
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.confirm import ConfirmScreen
from oakctl.tui.screens.fleet import FleetScreen
from oakctl.tui.screens.wizard.frame import WizardScreen
from oakctl.tui.wizard import draft
from oakctl.tui.wizard.draft import Step
from tests.chain import fleet as chain

from .driving import SMALL, texts, until

LONG = 9000  # looks of 20 ms: work on real hosts


def at(app: FleetApp, step: Step) -> bool:
    return isinstance(app.screen, WizardScreen) and app.screen.step is step


def next_has_focus(app: FleetApp) -> bool:
    return isinstance(app.focused, Button) and app.focused.id == "next"


async def reach(pilot: Pilot[None], app: FleetApp, step: Step) -> None:
    """Until the step is there and Enter goes on."""
    try:
        await until(pilot, lambda: at(app, step) and next_has_focus(app), steps=LONG)
    except AssertionError:
        raise AssertionError(f"{step} is not reached:\n{texts(app)}") from None


def wizard() -> FleetApp:
    return FleetApp(RootClient, setup=RootClient, begin_with_setup=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_enter_through_the_defaults_ends_in_a_running_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with chain.lab() as lab, hosted_root(), RootClient() as root:
        for host in lab.hosts:
            await root.put_host(host)
        first = wizard()
        async with first.run_test(size=SMALL, notifications=True) as pilot:
            await reach(pilot, first, Step.HOSTS)
            await pilot.press("enter")
            await reach(pilot, first, Step.CHECK)
            assert "can be used" in texts(first)
            await pilot.press("enter")
            await reach(pilot, first, Step.ROLES)
        # It ended here without a word; the next one goes on where it was.
        app = wizard()
        async with app.run_test(size=SMALL, notifications=True) as pilot:
            await reach(pilot, app, Step.ROLES)
            await pilot.press("ctrl+n")
            await reach(pilot, app, Step.PLAN)
            async with RootClient() as again:
                assert await again.clusters() == ()
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            await pilot.press("enter")  # Cancel has the focus
            await until(pilot, lambda: at(app, Step.PLAN))
            assert not (tmp_path / "fleet.yaml").exists()
            await pilot.press("ctrl+n")
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            await pilot.press("y")
            await reach(pilot, app, Step.APPLY)
            assert "the fleet is there" in texts(app)
            await pilot.press("enter")
            await reach(pilot, app, Step.APPLICATION)
            await pilot.press("enter")
            await reach(pilot, app, Step.DONE)
            assert "oakctl app apply -f" in texts(app)
            async with RootClient() as again:
                assert (await again.service("Web")).ready == 1
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, FleetScreen))
            await until(pilot, lambda: "Web.0" in texts(app), steps=LONG)
        assert draft.load().step is Step.HOSTS
        wanted = reading.parse((tmp_path / "fleet.yaml").read_text(), tmp_path)
        assert len(wanted.workers) == 2
        async with RootClient() as again:  # the other one was idle for long
            names = {each.name for each in await again.workers()}
        assert names == {each.name for each in wanted.workers}
