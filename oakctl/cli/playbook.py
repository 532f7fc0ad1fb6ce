"""`oakctl playbook`: what is done to a host, step by step, to be read before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oakctl.cli import again, diagnostics, session, waiting
from oakctl.cli import output as stdout
from oakctl.cli.answers import Answers
from oakctl.cli.asking import asked
from oakctl.cli.grammar import (
    AcceptNew,
    AllowReboot,
    Output,
    SudoPasswordFile,
    Yes,
    duration,
    examples,
    noun,
)
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import NotFound, OakError, UsageError, error_for
from oakctl.model.requests import LookRequest, PlanRequest, PlaybookRun
from oakctl.model.views import HostPlan, StepEvent

if TYPE_CHECKING:
    from oakctl.client.root import RootClient
    from oakctl.remote.outline import Outline

    Work = Callable[[PlaybookRun], Awaitable["HostOutcome"]]

# Packages are installed, and hosts restart, in it.
Timeout = Annotated[
    float,
    typer.Option(
        parser=duration, metavar="DURATION", help="How long to wait (90s, 30m).", show_default="1h"
    ),
]
DEFAULT_TIMEOUT: Any = "1h"

app = noun("playbook", "Playbooks: what is done to a host, step by step.")


@dataclass(frozen=True)
class PlaybookView:
    """A playbook, as it is listed."""

    name: str
    summary: str
    path: str
    own: bool  # the user's, not one that ships with oakctl
    hook: str  # "before worker.agent": its steps run around that
    hooked_by: tuple[str, ...]  # "mine after worker.agent"
    takes: tuple[str, ...]
    fault: str  # why it cannot be used


def _hooks(view: PlaybookView) -> str:
    return ", ".join(filter(None, (view.hook, *view.hooked_by))) or "-"


COLUMNS = (
    Column[PlaybookView]("Name", lambda view, now: view.name),
    Column[PlaybookView]("Whose", lambda view, now: "yours" if view.own else "oakctl"),
    Column[PlaybookView]("Summary", lambda view, now: view.fault or view.summary),
    Column[PlaybookView]("Hooks", lambda view, now: _hooks(view)),
    Column[PlaybookView]("Path", lambda view, now: view.path, wide=True),
)


def found() -> list[PlaybookView]:
    """Every playbook by name; the user's own first where two have the same name."""
    from oakctl.remote import hooks, playbook

    outlines = playbook.outlines()
    around = hooks.around(outlines)
    return [
        PlaybookView(
            each.name,
            each.summary,
            each.path,
            each.own,
            each.hook,
            tuple(around.get(each.name, ())),
            each.takes,
            each.fault,
        )
        for each in outlines
    ]


@app.command("ls", epilog=examples("oakctl playbook ls", "oakctl playbook ls -o wide"))
def ls(output: Output = Format.TABLE) -> None:
    """List the playbooks, yours and those that ship with oakctl."""
    listing(found(), output, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl playbook show worker", "oakctl playbook show base --source"))
def show(
    name: Annotated[str, typer.Argument(help="The playbook.")],
    source: Annotated[
        bool, typer.Option("--source", help="Write its source: exactly what will be done.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show the steps of a playbook, what hooks on them, and where its source is."""
    from oakctl.remote import playbook

    outline = next((each for each in playbook.outlines() if each.name == name), None)
    if outline is None:
        raise NotFound(f"there is no playbook {name}", hint="oakctl playbook ls")
    if source:
        stdout.text(Path(outline.path).read_text(encoding="utf-8"))
    elif output in (Format.JSON, Format.YAML):
        from oakctl.model import wire

        stdout.document(wire.to_plain(outline), output)
    elif output is Format.NAME:
        for step in outline.steps:
            stdout.line(f"{outline.name}.{step.name}")
    else:
        _describe(outline)


def _describe(outline: Outline) -> None:
    from oakctl.remote import hooks, playbook
    from oakctl.tui.viewmodels.words import clean

    around = hooks.around(playbook.outlines()).get(outline.name, [])
    for line in (outline.fault or outline.text).splitlines():
        stdout.line(clean(line, len(line)))
    stdout.line("")
    fields = (
        ("Source", outline.path),
        ("Settings", " ".join(f"--set {each}" for each in outline.takes)),
        ("Hook", outline.hook),
        ("Hooked by", ", ".join(around)),
    )
    for title, value in fields:
        if value:
            stdout.line(f"{title + ':':<10} {clean(value, len(value))}")
    width = max((len(step.name) for step in outline.steps), default=0)
    for step in outline.steps:
        stdout.line(f"  {outline.name}.{step.name:<{width}}  {clean(step.title)}")


@dataclass(frozen=True)
class HostOutcome:
    """What came of a playbook on one host."""

    host: str
    changed: bool
    steps: tuple[StepEvent, ...]
    error: str = ""
    hint: str = ""
    exit_code: int = 0


@app.command(
    epilog=examples(
        "oakctl playbook run wireguard pi-1 pi-2",
        "oakctl playbook run raspberry_pi pi-1 --allow-reboot --yes",
        "oakctl playbook run tune pi-1 --set level=3 --check",
    )
)
def run(
    name: Annotated[str, typer.Argument(help="The playbook, one of ours or yours.")],
    host: Annotated[list[str], typer.Argument(metavar="HOST…", help="The hosts.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What the playbook takes; repeatable."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Show what would be done, and do nothing.")
    ] = False,
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    yes: Yes = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    output: Output = Format.TABLE,
) -> None:
    """Show what a playbook would change on hosts, ask, and do it on all of them at a time."""
    settings = _settings(setting or [])
    hosts = list(dict.fromkeys(host))
    runs = [PlaybookRun(name, each, settings, accept_new, allow_reboot) for each in hosts]

    async def main() -> list[HostOutcome]:
        async with session.root() as client:
            await session.give_password(client, hosts, sudo_password_file)
            asking, answers = asyncio.Lock(), Answers(client)
            outcomes = await _each(runs, lambda each: _looked(client, each, asking, answers))
            if check:
                return outcomes
            wanted = await _agreed(runs, outcomes, yes=yes)
            done = await _each(wanted, lambda each: _carried_out(client, each, timeout))
            ran = {outcome.host: outcome for outcome in done}
            return [ran.get(outcome.host, outcome) for outcome in outcomes]

    outcomes = session.run(main())
    _write(outcomes, output)
    failures = [outcome for outcome in outcomes if outcome.error]
    if failures:
        raise _failure(failures, len(outcomes))
    if not check:
        changed = [outcome.host for outcome in outcomes if outcome.changed]
        diagnostics.say(f"playbook {name} has run" if changed else "no changes")


async def _each(runs: list[PlaybookRun], work: Work) -> list[HostOutcome]:
    """Do `work` for each host at a time; what fails on one does not stop the others."""

    async def one(run: PlaybookRun) -> HostOutcome:
        try:
            return await work(run)
        except UsageError:
            raise  # the playbook's or the command's, not the host's
        except OakError as error:
            diagnostics.say(error.message)
            return HostOutcome(run.host, False, (), error.message, error.hint, int(error.exit_code))

    return list(await asyncio.gather(*(one(each) for each in runs)))


async def _looked(
    client: RootClient, run: PlaybookRun, asking: asyncio.Lock, answers: Answers
) -> HostOutcome:
    """What would be done; one question at a time where a host needs an answer first."""
    request = PlanRequest(run.host, playbook=run, accept_new=run.accept_new)
    while True:
        try:
            plan = await _plan_of(client, request)
            break
        except OakError as error:
            async with asking:
                way = await answers.settle_way(error.message)
                if not way and not await answers.settle(run.host, error.message):
                    raise
    for step in (*plan.missing, *plan.withheld):
        diagnostics.say(f"{plan.host}: {step.step}: {step.message}")
    return HostOutcome(run.host, bool(plan.missing), plan.steps)


async def _plan_of(client: RootClient, request: PlanRequest) -> HostPlan:
    """What one host says; raises why it cannot be asked."""
    (plan,) = (await client.look(LookRequest((request,)))).plans
    if plan.fault:
        raise error_for(plan.exit_code, plan.fault, plan.hint, plan.details)
    return plan


async def _agreed(
    runs: list[PlaybookRun], looked: list[HostOutcome], *, yes: bool
) -> list[PlaybookRun]:
    """The runs that have something to do, once that was agreed to; restarts are asked for alone."""
    plans = {outcome.host: HostPlan(outcome.host, outcome.steps) for outcome in looked}
    restarting = [host for host, plan in plans.items() if plan.withheld]
    if restarting and diagnostics.can_prompt() and not yes:
        names = ", ".join(restarting)
        if await asked(diagnostics.ask, f"May {names} restart in it?"):
            runs = [replace(run, allow_reboot=True) for run in runs]
    wanted = [
        run
        for run in runs
        if plans[run.host].missing or (run.allow_reboot and plans[run.host].withheld)
    ]
    if wanted:
        question = f"Run {runs[0].name} on {', '.join(run.host for run in wanted)}?"
        await asked(diagnostics.confirm, question, yes=yes)
    return wanted


async def _carried_out(client: RootClient, run: PlaybookRun, timeout_s: float) -> HostOutcome:
    view = await waiting.operation(
        client,
        run.host,
        # Its key was shown and agreed to while it was looked at.
        lambda: client.run_playbook(run),
        wait=True,
        timeout_s=timeout_s,
    )
    ended = tuple(step for step in view.steps if step.state != "running")
    return HostOutcome(run.host, any(step.state == "done" for step in ended), ended)


def _write(outcomes: list[HostOutcome], form: Format) -> None:
    from oakctl.model import wire

    if form in (Format.JSON, Format.YAML):
        stdout.document(wire.to_plain(outcomes), form)
    elif form is Format.NAME:
        for outcome in outcomes:
            if outcome.changed:
                stdout.line(outcome.host)


def _failure(failures: list[HostOutcome], of: int) -> OakError:
    first = failures[0]
    if of == 1:
        return error_for(first.exit_code, first.error, first.hint, ())
    return error_for(
        first.exit_code,
        f"it failed on {len(failures)} of {of} hosts",
        f"{again.typed()}   # carries on",
        tuple(f"{each.error}{f' ({each.hint})' if each.hint else ''}" for each in failures),
    )


def _settings(pairs: list[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        key, marker, value = pair.partition("=")
        if not key.isidentifier() or not marker:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        settings[key] = value
    return settings
