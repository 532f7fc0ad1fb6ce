"""The wizard's screens over a root that only answers: hostile text, every key, tiny terminals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from oakctl.model.requests import LookRequest
from oakctl.model.views import FleetLook, HostCheck, HostFinding, HostMachine, HostPlan, StepEvent
from oakctl.tui.app import FleetApp
from oakctl.tui.screens.wizard.frame import WizardScreen
from oakctl.tui.wizard import draft
from oakctl.tui.wizard.draft import Draft, Role, Step

from . import fleet
from .driving import SMALL, texts, until
from .test_wizard_on_lab import at

HOSTS = "pi@192.168.1.20\npi@192.168.1.21\n"
NAMES = ("host-192-168-1-20", "host-192-168-1-21")


class OnlyAnswers:
    """Hosts with findings of hostile text; whatever else is asked of it is noted."""

    def __init__(self, *hostile: str) -> None:
        self.texts = hostile
        self.changes: list[str] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[OnlyAnswers]:
        yield self

    async def hosts(self) -> tuple[()]:
        return ()

    clusters = workers = operations = hosts

    async def look(self, request: LookRequest) -> FleetLook:
        findings = tuple(
            HostFinding(name, severity, text, text, text)
            for text in self.texts
            for name, severity in zip(NAMES, ("note", "fixable"), strict=True)
        )
        text = "".join(self.texts)
        machines = tuple(HostMachine(name, text, text, 4, 2048, text) for name in NAMES)
        steps = (StepEvent(0.0, text, text, "planned", text),)
        plans = tuple(HostPlan(plan.host, steps) for plan in request.plans)
        return FleetLook(plans, HostCheck(NAMES, findings, (), machines), "r1")

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def noted(*arguments: object, **options: object) -> None:
            self.changes.append(name)

        return noted


async def opened(pilot: Pilot[None], app: FleetApp, step: Step) -> None:
    await until(pilot, lambda: at(app, step) and bool(app.screen.query("#next")))


def wizard_over(root: Any) -> FleetApp:
    return FleetApp(fleet.friendly().connect, setup=root.connect, begin_with_setup=True)


def kept(step: Step) -> Draft:
    roles = {
        NAMES[0]: Role("edge", orchestrator=True),
        NAMES[1]: Role("edge", worker=True),
    }
    return Draft(step, HOSTS, roles=roles, folder="/nowhere")


@pytest.mark.parametrize("step", [Step.HOSTS, Step.CHECK, Step.ROLES, Step.PLAN])
async def test_hostile_text_and_no_key_changes_anything(step: Step) -> None:
    draft.save(kept(step))
    root = OnlyAnswers(*fleet.HOSTILE)
    app = wizard_over(root)
    async with app.run_test(size=SMALL, notifications=True, tooltips=True) as pilot:
        await opened(pilot, app, step)
        if step in (Step.CHECK, Step.PLAN):
            expected = "2 hosts can be used" if step is Step.CHECK else "fleet file will be"
            await until(pilot, lambda: expected in texts(app))
        assert "\x1b" not in texts(app)
        keys = ["down", "o", "o", "w", "w", "t", "space", "space", "tab", "enter"]
        for key in [*keys, "escape"] if step is not Step.HOSTS else ["tab", "escape"]:
            await pilot.press(key)
            if isinstance(app.screen, WizardScreen) and not at(app, step):
                break  # Enter on Next
        for size in ((20, 5), SMALL):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        assert app.is_running
    assert app._exception is None
    assert root.changes == []


async def test_typed_hosts_lead_on_and_a_wrong_line_does_not() -> None:
    root = OnlyAnswers("disk")
    app = wizard_over(root)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await opened(pilot, app, Step.HOSTS)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "no host is named yet" in texts(app))
        await pilot.press(*"pi@192.168.1.20", "enter", *"bad host")
        await until(pilot, lambda: "line 2" in texts(app))
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "a line is no host" in texts(app))
        for _ in "bad host":
            await pilot.press("backspace")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: at(app, Step.CHECK))
        assert draft.load().hosts == "pi@192.168.1.20\n"
        await pilot.press("ctrl+b")
        await until(pilot, lambda: at(app, Step.HOSTS))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, WizardScreen))
        await pilot.press("w")
        await until(pilot, lambda: at(app, Step.HOSTS))
