"""How it goes, in lines."""

from __future__ import annotations

import pytest

from oakctl.cli.fleet_words import Progress, plan_lines
from oakctl.errors import OakError
from oakctl.fleet.plan import Change, Plan
from oakctl.model.views import HostFinding, StepEvent

CHANGE = Change("create", "worker", "edge/w1", "pi-1")


def step(title: str, state: str, done: int = 0, total: int = 0) -> StepEvent:
    return StepEvent(0.0, "pi-1", title, state, done_bytes=done << 20, total_bytes=total << 20)


def test_a_host_is_shown_with_its_phases_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(detailed=True)
    progress.begun(CHANGE)
    progress.step(CHANGE, step("base: node archive", "running"))
    progress.step(CHANGE, step("base: node archive", "running", 3, 12))
    progress.step(CHANGE, step("worker: configuration", "done"))
    progress.ended(CHANGE, None)
    assert capsys.readouterr().err.splitlines() == [
        "pi-1: create worker edge/w1",
        "pi-1: base …",
        "pi-1: base 3/12 MiB",
        "pi-1: base ✓  worker …",
        "worker edge/w1 is ready",
    ]


def test_without_a_terminal_only_ends_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(detailed=False)
    progress.begun(CHANGE)
    progress.step(CHANGE, step("base: node archive", "failed"))
    progress.ended(CHANGE, OakError("no room"))
    assert capsys.readouterr().err == "worker edge/w1 failed: no room\n"


def test_notes_are_for_those_who_want_all() -> None:
    note = HostFinding("pi-1", "note", "memory", "it has little")
    mend = HostFinding("pi-2", "fixable", "clock", "it is late", "set it")
    plan = Plan(findings=(mend, note), unchanged=2)
    assert list(plan_lines(plan, steps=False)) == [
        "pi-2: fixable: clock: it is late",
        "    remedy: set it",
        "no changes: 2 hosts, clusters and workers are as described",
    ]
    assert "pi-1: note: memory: it has little" in list(plan_lines(plan, steps=True))
