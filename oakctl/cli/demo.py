"""`oakctl demo`: the whole chain on this machine, shown or told."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, output, session
from oakctl.cli.grammar import duration
from oakctl.errors import OakError, UsageError

if TYPE_CHECKING:
    from oakctl.demo.report import Report

HEADLESS_S = 10.0


class LabKind(str, Enum):
    """What it is built on."""

    LOOPBACK = "loopback"
    NAMESPACES = "namespaces"


def demo(
    lab: Annotated[
        LabKind, typer.Option("--lab", help="Which kind of hosts it is built on.")
    ] = LabKind.LOOPBACK,
    headless: Annotated[
        bool, typer.Option("--headless", help="One line for each step, also on a terminal.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write what came of it as JSON.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            parser=duration,
            metavar="DURATION",
            help="How long to watch it (terminal: until q; else 10s).",
        ),
    ] = None,
) -> None:
    """Build an edge cloud on this machine, run augmented reality on it, take it all away."""
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"{report.parent} is no directory", hint=f"mkdir -p {report.parent}")
    if headless or not diagnostics.is_terminal():
        _told(HEADLESS_S if seconds is None else seconds, report, lab)
    else:
        _shown(math.inf if seconds is None else seconds, report, lab)


def _told(seconds: float, file: Path | None, lab: LabKind) -> None:
    from oakctl.demo.headless import HeadlessObserver, summary
    from oakctl.demo.runner import Demo

    result = session.run(Demo(seconds=seconds, lab=lab.value).run(HeadlessObserver(output.line)))
    _write(result, file)
    for line in summary(result):
        output.line(line)
    _judge(result)


def _shown(seconds: float, file: Path | None, lab: LabKind) -> None:
    import asyncio

    from oakctl.demo.headless import summary
    from oakctl.demo.runner import Demo
    from oakctl.tui.run import show_demo

    demonstration = Demo(seconds=seconds, lab=lab.value)
    result, code = asyncio.run(
        show_demo(demonstration.run, diagnostics.say, stop=demonstration.stop)
    )
    if result is not None:
        _write(result, file)
        for line in summary(result):
            diagnostics.say(line)
        _judge(result)
    raise typer.Exit(code)


def _write(result: Report, file: Path | None) -> None:
    from oakctl.demo.report import to_json

    if file is None:
        return
    try:
        file.write_text(to_json(result), encoding="utf-8")
    except OSError as error:
        raise OakError(f"{file} cannot be written: {error.strerror}") from error


def _judge(result: Report) -> None:
    if not result.ok:
        raise OakError("the demonstration failed", hint=result.hint, details=result.faults)
