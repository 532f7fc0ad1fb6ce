"""`oakctl fleet`: everything that a file describes, made so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import again, asking, diagnostics, host_python, session, source
from oakctl.cli import output as stdout
from oakctl.cli.grammar import (
    AcceptNew,
    AllowReboot,
    Output,
    PythonArchives,
    SudoPasswordFile,
    Yes,
    examples,
    noun,
)
from oakctl.cli.output import Format
from oakctl.errors import OakError, UsageError
from oakctl.model.views import HostView

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


@app.command(
    epilog=examples(
        "oakctl fleet init",
        "oakctl fleet init pi@192.168.1.20 pi@192.168.1.21 cam=admin@10.0.0.7:2222",
        "oakctl fleet init -f site.yaml",
    )
)
def init(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]USER@ADDRESS[:PORT]…", help="Machines; without any, what is known."
        ),
    ] = None,
    file: File = DEFAULT_FILE,
) -> None:
    """Write a fleet file to begin with; an existing one is kept.

    Of machines that are given, the first becomes the orchestrator and the others its workers.
    """
    from oakctl.fleet import writing

    async def known() -> str:
        from oakctl.fleet import looking

        async with session.root() as client:
            return writing.text(await looking.known_of(client))

    if hosts:
        content = writing.starter([_named(given, number) for number, given in enumerate(hosts, 1)])
    else:
        content = session.run(known())
    if str(file) == "-":
        stdout.text(content)
        return
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
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    python_archive: PythonArchives = None,
    output: Output = Format.TABLE,
) -> None:
    """Show how the fleet differs from the file, and what stands in the way on its hosts.

    Nothing is changed. `-o wide` shows each step and every note. Ends with 0 when all of it can be
    applied, also when there is nothing to do.
    """
    wanted = _allowing(_given(_read(file), python_archive), allow_reboot)

    async def main() -> Plan:
        from oakctl.cli import fleet_looking
        from oakctl.fleet import planner

        async with session.root() as client:
            seen = await fleet_looking.look(
                client, wanted, accept_new=accept_new, sudo_password_file=sudo_password_file
            )
            return planner.plan(wanted, seen, prune=prune)

    found = session.run(main())
    _write(found, output)
    stuck = [fault.exit_code for fault in found.faults]
    stuck += [change.exit_code for change in found.changes if change.blocked]
    if stuck:
        raise typer.Exit(stuck[0])


@app.command(
    epilog=examples(
        "oakctl fleet apply -f fleet.yaml",
        "oakctl fleet apply --prune --yes -o json",
        "oakctl fleet apply --yes --sudo-password-file - <password.txt",
    )
)
def apply(
    file: File = DEFAULT_FILE,
    prune: Prune = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    python_archive: PythonArchives = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Show the plan, ask, and make the fleet so; carries on what was interrupted.

    A host that fails does not stop the others. Newer releases go to one worker of a cluster at a
    time.
    """
    wanted = _allowing(_given(_read(file), python_archive), allow_reboot)

    async def main() -> tuple[Plan, Outcome]:
        from oakctl.cli import fleet_looking
        from oakctl.fleet import looking, planner

        async with session.root() as client:

            async def plan(asked: Wanted) -> Plan:
                seen = await fleet_looking.look(
                    client, asked, accept_new=accept_new, sudo_password_file=sudo_password_file
                )
                return planner.plan(asked, seen, prune=prune)

            await looking.settle(client, wanted, lambda begun: _carried_on(client, begun))
            asked, found = wanted, await plan(wanted)
            if not yes and await _may_restart(found):
                asked = _allowing(wanted, True)
                found = await plan(asked)
            return found, await _agreed(client, asked, found, parallel, yes)

    found, outcome = session.run(main())
    _close(found, outcome, output)
    if found.changes:
        diagnostics.say(f"the fleet is as described: {len(outcome.done)} changes made")


@app.command(
    epilog=examples("oakctl fleet upgrade", "oakctl fleet upgrade -f fleet.yaml --yes -o json")
)
def upgrade(
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Only what this file names; else all.")
    ] = None,
    accept_new: AcceptNew = False,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Bring the release of this program to hosts that run another one, one at a time.

    In each cluster the orchestrator comes first, then worker after worker; instances go on. One
    that does not become ready goes back to the release before, and the others keep theirs.
    """
    wanted_of_file = _read(file) if file is not None else None

    async def main() -> tuple[Plan, Outcome]:
        from oakctl.cli import fleet_looking
        from oakctl.fleet import looking, planner

        await session.renew_root()
        async with session.root() as client:
            known = looking.as_wanted(await looking.known_of(client))
            wanted = wanted_of_file or known
            await looking.settle(client, wanted, lambda begun: _carried_on(client, begun))
            seen = await fleet_looking.look(
                client, wanted, accept_new=accept_new, sudo_password_file=sudo_password_file
            )
            found = planner.upgrades(planner.plan(wanted, seen))
            return found, await _agreed(client, wanted, found, 64, yes)

    found, outcome = session.run(main())
    _close(found, outcome, output)
    if found.changes:
        diagnostics.say(f"{len(outcome.done)} of the fleet run from this release now")


@app.command(
    epilog=examples(
        "oakctl fleet destroy -f fleet.yaml", "oakctl fleet destroy --force --yes -o json"
    )
)
def destroy(
    file: File = DEFAULT_FILE,
    prune: Prune = False,
    parallel: Parallel = DEFAULT_PARALLEL,
    force: Annotated[
        bool, typer.Option("--force", help="Forget hosts that do not answer, and go on.")
    ] = False,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Take away workers, then clusters, then hosts of the file; each host is left as it was."""
    wanted = _read(file)

    async def main() -> tuple[Plan, Outcome]:
        from oakctl.cli import fleet_looking
        from oakctl.fleet import looking, planner
        from oakctl.fleet.state import Wanted

        async with session.root() as client:
            await looking.settle(client, wanted, lambda begun: _carried_on(client, begun))
            known = await looking.known_of(client)
            found = planner.destruction(wanted, known, prune=prune)
            touched = {each.host for each in found.changes if each.kind != "host"}
            hosts = tuple(host for host in known.hosts if host.name in touched)
            seen = await fleet_looking.look(
                client, Wanted(hosts), accept_new=False, sudo_password_file=sudo_password_file
            )
            _tell_silent(seen, force)
            return found, await _agreed(client, wanted, found, parallel, yes, force=force)

    found, outcome = session.run(main())
    _close(found, outcome, output)
    diagnostics.say("nothing of the fleet is left")


def _named(given: str, number: int) -> HostView:
    """A host of `[NAME=]USER@ADDRESS[:PORT]`."""
    from oakctl.cli.host import destination
    from oakctl.orchestration.root import names

    name, _, where = given.rpartition("=")
    user, address, port = destination(where, unsaid=0)
    return HostView(names.check(name or f"host-{number}", "host"), address, port, user)


def _read(file: Path) -> Wanted:
    from oakctl.fleet import reading

    content = source.content(file, missing=f"oakctl fleet init -f {file}")
    return reading.parse(content, Path.cwd() if file == source.STDIN else file.resolve().parent)


def _given(wanted: Wanted, archives: list[Path] | None) -> Wanted:
    """Keep the Pythons of the file and of the command, for the hosts that need one."""
    host_python.given([*(Path(file) for file in wanted.python_archives), *(archives or ())])
    return wanted


async def _may_restart(plan: Plan) -> bool:
    """Whether somebody is there who lets hosts restart that have to and may not yet."""
    hosts = [step.host for step in plan.restarts if step.state == "skipped"]
    if not hosts or not diagnostics.can_prompt():
        return False
    for step in plan.restarts:
        diagnostics.say(f"{step.host}: {step.step}: {step.message}")
    names = ", ".join(dict.fromkeys(hosts))
    return await asking.asked(diagnostics.ask, f"May {names} restart in it?")


def _allowing(wanted: Wanted, reboots: bool) -> Wanted:
    """The same, with every worker's host allowed to restart, or none."""
    workers = tuple(replace(worker, allow_reboot=reboots) for worker in wanted.workers)
    return replace(wanted, workers=workers)


async def _agreed(
    client: RootClient,
    wanted: Wanted,
    plan: Plan,
    parallel: int,
    yes: bool,
    *,
    force: bool = False,
) -> Outcome:
    """Show the plan, ask when something would be changed, and carry it out."""
    from oakctl.cli.fleet_words import Progress, plan_lines
    from oakctl.fleet.applier import Applier, Outcome

    for line in plan_lines(plan, steps=False):
        diagnostics.say(line)
    if not plan.changes:
        return Outcome()
    some = f"{len(plan.changes)} change{'' if len(plan.changes) == 1 else 's'}"
    await asking.asked(diagnostics.confirm, f"Make {some}?", yes=yes)
    applier = Applier(client, wanted, Progress(), limit=parallel, force=force)
    try:
        return await applier.run(plan)
    except asyncio.CancelledError:
        diagnostics.say("stopped; what was begun goes on, and the same command carries on")
        raise


def _close(plan: Plan, outcome: Outcome, form: Format) -> None:
    """Write what became of it where that is asked for; raises what did not come about."""
    from oakctl.cli import fleet_words

    if form in (Format.JSON, Format.YAML):
        stdout.document(fleet_words.result(plan, outcome), form)
    if failure := fleet_words.failure_of(plan, outcome, again.typed()):
        raise failure


async def _carried_on(client: RootClient, begun: OperationView) -> None:
    """Wait for what an earlier call left under way; how it ended shows in the plan."""
    diagnostics.say(f"{begun.subject}: an earlier run works on it, operation {begun.id}")
    try:
        await client.wait_operation(begun.id)
    except OakError as error:
        diagnostics.say(f"{begun.subject}: that failed: {error.message}")


def _tell_silent(seen: Seen, force: bool) -> None:
    """Hosts that do not answer, before anything is taken away."""
    for each in seen.checks.values():
        if each.fault is not None:
            diagnostics.warn(each.fault.message)
    if any(each.fault is not None for each in seen.checks.values()) and not force:
        diagnostics.say("--force forgets hosts that are gone for good")


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
