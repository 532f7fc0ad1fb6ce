"""`oakctl chaos run | validate`: a script of faults against what runs, and the report of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.chaos.timeline import Outcome
from oakctl.cli import diagnostics, session, source
from oakctl.cli import output as stdout
from oakctl.cli.asking import asked
from oakctl.cli.chaos import app, chaos, clock
from oakctl.cli.grammar import Output, SudoPasswordFile, Yes, examples
from oakctl.cli.output import Column, Format
from oakctl.errors import OakError, UsageError
from oakctl.model import wire

if TYPE_CHECKING:
    from oakctl.chaos.playing import Report
    from oakctl.chaos.scenario import Scenario

File = Annotated[Path, typer.Argument(metavar="SCENARIO", help="The file (-: standard input).")]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


COLUMNS = (
    Column[Outcome]("At", lambda one, now: clock(one.at)),
    Column[Outcome]("Fault", lambda one, now: one.fault),
    Column[Outcome]("Detected", lambda one, now: _seconds(one.detected_s)),
    Column[Outcome]("Re-routed", lambda one, now: _seconds(one.rerouted_s)),
    Column[Outcome]("Replaced", lambda one, now: _seconds(one.replaced_s)),
    Column[Outcome]("Hit", lambda one, now: f"{one.replaced}/{len(one.hit)}"),
    Column[Outcome]("Failed", lambda one, now: "-" if one.failed is None else str(one.failed)),
    Column[Outcome]("By", lambda one, now: one.detected_by or "-", wide=True),
    Column[Outcome]("Broken", lambda one, now: one.error or "; ".join(one.broken) or "-"),
)


@app.command("run", epilog=examples(
    "oakctl chaos run examples/chaos/ar.yaml",
    "oakctl chaos run examples/chaos/ar.yaml --yes --report report.json",
))  # fmt: skip
def run(
    file: File,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write all of it as JSON, events too."),
    ] = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Play a script of faults against what runs, and tell what came of each.

    Detected: the first event of it. Re-routed: the first request that was answered again, where the
    scenario has a `probe`. Replaced: all instances that were lost are ready again. Ends with 1 when
    something was not as the scenario expects, or is not ready in the end.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"{report.parent} is no directory", hint=f"mkdir -p {report.parent}")
    scenario = _read(file)

    async def main() -> Report:
        from oakctl.chaos.playing import Player

        async with session.root() as client:
            if sudo_password_file is not None:
                known = [host.name for host in await client.hosts() if host.role]
                await session.give_password(client, known, sudo_password_file)
            player = Player(client, chaos(client), scenario, diagnostics.say)
            for plan in await player.plans():
                diagnostics.say(plan.question.removesuffix(" Do it?"))
            count = len(scenario.steps)
            question = f"Make {'this fault' if count == 1 else f'these {count} faults'}?"
            await asked(diagnostics.confirm, question, yes=yes)
            return await player.play()

    result = session.run(main())
    _write(result, report)
    _show(result, output)
    if not result.ok:
        raise _not_ok(result)


@app.command("validate", epilog=examples("oakctl chaos validate examples/chaos/ar.yaml"))
def validate(file: File) -> None:
    """Check a script of faults, without a fleet; every fault in it is told."""
    scenario = _read(file)
    diagnostics.say(f"{source.named(file)} is right: {len(scenario.steps)} faults")


def _read(file: Path) -> Scenario:
    from oakctl.chaos import scenario

    content = source.content(file, missing="see examples/chaos")
    return scenario.parse(content, called=file.stem if file != source.STDIN else "")


def _write(result: Report, file: Path | None) -> None:
    if file is None:
        return
    try:
        file.write_text(json.dumps(wire.to_plain(result), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OakError(f"{file} cannot be written: {error.strerror}") from error


def _show(result: Report, output: Format) -> None:
    if output in (Format.JSON, Format.YAML):
        stdout.document(wire.to_plain(result), output)
        return
    stdout.listing(result.faults, output, COLUMNS, lambda one: one.fault)
    if result.requests:
        diagnostics.say(f"{result.requests} requests, {result.failed} failed")


def _not_ok(result: Report) -> OakError:
    wrong = [f"{one.fault}: {word}" for one in result.faults for word in one.broken]
    wrong += [f"{one.fault}: {one.error}" for one in result.faults if one.error]
    wrong += [] if result.ready else ["not everything is ready in the end"]
    return OakError(
        "the scenario did not end as expected", hint="oakctl event ls", details=tuple(wrong)
    )
