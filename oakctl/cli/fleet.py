"""`oakctl fleet`: everything that a file describes, made so."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, host_python, session, waiting
from oakctl.cli import output as stdout
from oakctl.cli.grammar import AcceptNew, AllowReboot, Output, PythonArchives, Yes, examples, noun
from oakctl.cli.output import Format
from oakctl.errors import NotFound, OakError, UsageError

if TYPE_CHECKING:
    from oakctl.client.root import RootClient
    from oakctl.fleet.applier import Outcome
    from oakctl.fleet.plan import Plan
    from oakctl.fleet.state import Seen, Wanted
    from oakctl.model.views import OperationView

app = noun("fleet", "A fleet from a file: hosts, clusters and workers.")

File = Annotated[Path, typer.Option("-f", "--file", help="The fleet file (-: standard input).")]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Hosts worked on at a time.")]
Prune = Annotated[bool, typer.Option("--prune", help="Remove what is there and not in the file.")]
DEFAULT_FILE = Path("fleet.yaml")
DEFAULT_PARALLEL = 16


@app.command(epilog=examples("oakctl fleet init", "oakctl fleet init -f site.yaml"))
def init(file: File = DEFAULT_FILE) -> None:
    """Write a fleet file of what is known now; an existing one is kept."""

    async def main() -> str:
        from oakctl.fleet import looking, writing

        async with session.root() as client:
            return writing.text(await looking.known_of(client))

    if str(file) == "-":
        stdout.text(session.run(main()))
        return
    content = session.run(main())
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(content)
    except FileExistsError as error:
        raise UsageError(f"{file} exists", hint="oakctl fleet init -f OTHER.yaml") from error
    except OSError as error:
        raise OakError(f"{file} cannot be written: {error.strerror}") from error
    diagnostics.say(f"{file} is written; next: oakctl fleet plan -f {file}")


@app.command(epilog=examples("oakctl fleet plan -f fleet.yaml", "oakctl fleet plan -o json"))
def plan(
    file: File = DEFAULT_FILE,
    prune: Prune = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    python_archive: PythonArchives = None,
    output: Output = Format.TABLE,
) -> None:
    """Show how the fleet differs from the file; nothing is changed. `-o wide` shows each step."""
    wanted = _allowing(_given(_read(file), python_archive), allow_reboot)

    async def main() -> Plan:
        from oakctl.fleet import planner

        async with session.root() as client:
            seen = await _look(client, wanted, parallel, accept_new)
            return planner.plan(wanted, seen, prune=prune)

    found = session.run(main())
    _write(found, output)
    if found.faults:
        raise typer.Exit(found.faults[0].exit_code)


@app.command(
    epilog=examples("oakctl fleet apply -f fleet.yaml", "oakctl fleet apply --prune --yes")
)
def apply(
    file: File = DEFAULT_FILE,
    prune: Prune = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    python_archive: PythonArchives = None,
    yes: Yes = False,
) -> None:
    """Make the fleet as the file describes it; carries on what was interrupted."""
    from oakctl.cli import fleet_words

    wanted = _allowing(_given(_read(file), python_archive), allow_reboot)
    again = f"oakctl fleet apply -f {file}{' --allow-reboot' if allow_reboot else ''}"

    async def main() -> tuple[Plan, Outcome]:
        from oakctl.fleet import looking, planner

        async with session.root() as client:
            await looking.settle(client, wanted, lambda begun: _carried_on(client, begun))
            seen = await _look(client, wanted, parallel, accept_new)
            found = planner.plan(wanted, seen, prune=prune)
            _tell(found)
            gone = [change for change in found.changes if change.action in ("remove", "replace")]
            if gone:
                names = ", ".join(f"{change.kind} {change.name}" for change in gone)
                await _confirmed(f"Take away {names}?", yes, f"{again} --yes")
            return found, await _applied(client, wanted, found, parallel, force=False)

    found, outcome = session.run(main())
    if failure := fleet_words.failure_of(found, outcome, again):
        raise failure
    if found.changes:
        diagnostics.say(f"the fleet is as described: {len(outcome.done)} changes made")


@app.command(epilog=examples("oakctl fleet destroy -f fleet.yaml", "oakctl fleet destroy --force"))
def destroy(
    file: File = DEFAULT_FILE,
    prune: Prune = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    force: Annotated[
        bool, typer.Option("--force", help="Forget hosts that do not answer, and go on.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Take away workers, clusters and hosts of the file; each host is left as it was."""
    from oakctl.cli import fleet_words

    wanted = _read(file)
    again = f"oakctl fleet destroy -f {file}"

    async def main() -> tuple[Plan, Outcome]:
        from oakctl.fleet import looking, planner

        async with session.root() as client:
            await looking.settle(client, wanted, lambda begun: _carried_on(client, begun))
            found = planner.destruction(wanted, await looking.known_of(client), prune=prune)
            _tell(found)
            if found.changes:
                question = f"Take away these {len(found.changes)}, and all that runs there?"
                await _confirmed(question, yes, f"{again} --yes")
            return found, await _applied(client, wanted, found, parallel, force)

    found, outcome = session.run(main())
    if failure := fleet_words.failure_of(found, outcome, again):
        raise failure
    diagnostics.say("nothing of the fleet is left")


def _read(file: Path) -> Wanted:
    from oakctl.fleet import reading

    if str(file) == "-":
        return reading.parse(sys.stdin.buffer.read(), Path.cwd())
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}", hint=f"oakctl fleet init -f {file}") from error
    except OSError as error:
        raise OakError(f"{file} cannot be read: {error.strerror}") from error
    return reading.parse(content, file.resolve().parent)


def _given(wanted: Wanted, archives: list[Path] | None) -> Wanted:
    """Keep the Pythons of the file and of the command, for the hosts that need one."""
    host_python.given([*(Path(file) for file in wanted.python_archives), *(archives or ())])
    return wanted


def _allowing(wanted: Wanted, reboots: bool) -> Wanted:
    """The same, with every worker's host allowed to restart, or none."""
    workers = tuple(replace(worker, allow_reboot=reboots) for worker in wanted.workers)
    return replace(wanted, workers=workers)


async def _look(client: RootClient, wanted: Wanted, parallel: int, accept_new: bool) -> Seen:
    """Look at every host; on a terminal unknown keys are shown and asked about, all at once."""
    from oakctl.fleet import looking

    trusted = {host.name for host in wanted.hosts} if accept_new else set()
    seen = await looking.look(client, wanted, limit=parallel, accept_new=trusted)
    unknown = {
        fault.host: fault
        for each in seen.checks.values()
        if (fault := each.fault) is not None and waiting.UNKNOWN_KEY in fault.message
    }
    if not unknown or not diagnostics.can_prompt():
        return seen
    for fault in unknown.values():
        diagnostics.say(fault.message)
        for detail in fault.details:
            diagnostics.say(f"  {detail}")
    if not await asyncio.to_thread(diagnostics.ask, "Trust these hosts from now on?"):
        return seen
    return await looking.look(client, wanted, limit=parallel, accept_new=set(unknown))


async def _applied(
    client: RootClient, wanted: Wanted, plan: Plan, parallel: int, force: bool
) -> Outcome:
    from oakctl.cli.fleet_words import Progress
    from oakctl.fleet.applier import Applier

    applier = Applier(client, wanted, Progress(), limit=parallel, force=force)
    try:
        return await applier.run(plan)
    except asyncio.CancelledError:
        diagnostics.say("stopped; what was begun goes on, and the same command carries on")
        raise


async def _carried_on(client: RootClient, begun: OperationView) -> None:
    """Wait for what an earlier call left under way; how it ended shows in the plan."""
    diagnostics.say(f"{begun.subject}: an earlier run works on it, operation {begun.id}")
    try:
        await client.wait_operation(begun.id)
    except OakError as error:
        diagnostics.say(f"{begun.subject}: that failed: {error.message}")


async def _confirmed(question: str, yes: bool, command: str) -> None:
    await asyncio.to_thread(diagnostics.confirm, question, yes=yes, command=command)


def _tell(plan: Plan) -> None:
    from oakctl.cli.fleet_words import plan_lines

    for line in plan_lines(plan, steps=False):
        diagnostics.say(line)


def _write(plan: Plan, form: Format) -> None:
    from oakctl.cli.fleet_words import plan_lines
    from oakctl.model import wire
    from oakctl.tui.viewmodels.words import clean

    if form in (Format.JSON, Format.YAML):
        stdout.document(wire.to_plain(plan), form)
    elif form is Format.NAME:
        for change in plan.changes:
            stdout.line(f"{change.kind}/{change.name}")
    else:
        for line in plan_lines(plan, steps=form is Format.WIDE):
            stdout.line(clean(line))
