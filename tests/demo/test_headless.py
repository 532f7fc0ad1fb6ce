"""The demonstration as lines of text."""

from __future__ import annotations

import asyncio

import pytest

from oakctl.demo import headless
from oakctl.demo.headless import HeadlessObserver
from oakctl.demo.observer import DemoSample
from oakctl.demo.report import Measured, Report, StepResult
from oakctl.demo.steps import Steps
from oakctl.errors import Unreachable


def test_one_line_per_step_that_ended() -> None:
    lines: list[str] = []
    steps = Steps(HeadlessObserver(lines.append))
    with steps.step("lab up") as step:
        step.progress("keys")
        step.message = "7 hosts"
    assert len(lines) == 1
    assert lines[0].split() == ["lab", "up", "done", "0.0", "s", "7", "hosts"]


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (
            Unreachable("w1 does not answer", hint="oakctl host check w1"),
            "w1 does not answer",
            "oakctl host check w1",
        ),
        (asyncio.CancelledError(), "interrupted", ""),
        (ValueError("odd"), "ValueError: odd", ""),
    ],
)
def test_a_step_that_fails_is_remembered(error: BaseException, message: str, hint: str) -> None:
    lines: list[str] = []
    steps = Steps(HeadlessObserver(lines.append))
    with pytest.raises(type(error)), steps.step("worker w1"):
        raise error
    (result,) = steps.results
    assert (result.ok, result.message, result.hint) == (False, message, hint)
    assert "failed" in lines[0]


def test_figures_and_summary() -> None:
    line = headless.sample_line(DemoSample(18.94, 41.2, 62.0, 0.996))
    assert line == "  18.9 fps, latency 41 ms (p95 62 ms), 99.6% of the labels right"
    report = Report(
        steps=(StepResult("watch", False, 1.0, "no frames"),),
        measured=Measured(10, 15.0, 5.0, 9.0, 1.0),
        placements={"a.b.C.d.instance.0": "edge/w1"},
    )
    assert headless.summary(report) == [
        "10 frames, 15.0 fps, latency 5 ms (p95 9 ms), 100.0% of the labels right",
        "  a.b.C.d.instance.0 ran on edge/w1",
        "fault: watch: no frames",
    ]
