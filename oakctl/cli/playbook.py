"""`oakctl playbook`: what is done to a host, step by step, to be read before it is done."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl import paths
from oakctl.cli import diagnostics, session, waiting
from oakctl.cli import output as stdout
from oakctl.cli.grammar import DEFAULT_TIMEOUT, AcceptNew, Output, Timeout, Yes, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import NotFound, UsageError, error_for
from oakctl.model.requests import LookRequest, PlanRequest, PlaybookRun

if TYPE_CHECKING:
    from oakctl.client.root import RootClient
    from oakctl.model.views import HostPlan

app = noun("playbook", "Playbooks: what is done to a host, step by step.")


@dataclass(frozen=True)
class PlaybookView:
    """A playbook, as it is listed."""

    name: str
    summary: str
    path: str
    hook: str  # "before TITLE", "after TITLE": its steps run around that step
    own: bool  # the user's, not one that ships with oakctl


COLUMNS = (
    Column[PlaybookView]("Name", lambda view, now: view.name),
    Column[PlaybookView]("Whose", lambda view, now: "yours" if view.own else "oakctl"),
    Column[PlaybookView]("Summary", lambda view, now: view.summary),
    Column[PlaybookView]("Hook", lambda view, now: view.hook or "-"),
    Column[PlaybookView]("Path", lambda view, now: view.path, wide=True),
)


def found() -> list[PlaybookView]:
    """Every playbook by name; the user's own first where two have the same name."""
    from oakctl.remote import resources

    own = paths.config_directory() / "playbooks"
    views = [*_in(own, own=True), *_in(resources.data("playbooks"), own=False)]
    return sorted(views, key=lambda view: (view.name, not view.own))


def _in(directory: Path, *, own: bool) -> Iterator[PlaybookView]:
    for file in sorted(directory.glob("*.py")):
        if not file.name.startswith("_"):
            hook = _hook(file) if own else ""
            yield PlaybookView(file.stem, _summary(file), str(file), hook, own)


def _hook(file: Path) -> str:
    from oakctl.remote import playbook

    try:
        before, after = playbook.declared(file)
    except UsageError:  # the summary says what is wrong with it
        return ""
    named = (("before", before), ("after", after))
    return ", ".join(f"{word} {title}" for word, title in named if title)


def _summary(file: Path) -> str:
    # Read, not imported: looking at a playbook must not run it.
    try:
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, UnicodeDecodeError) as error:
        return f"(not readable: {error})"
    return text.partition("\n")[0]


@app.command("ls", epilog=examples("oakctl playbook ls", "oakctl playbook ls -o wide"))
def ls(output: Output = Format.TABLE) -> None:
    """List the playbooks, yours and those that ship with oakctl."""
    listing(found(), output, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl playbook show worker"))
def show(name: Annotated[str, typer.Argument(help="The playbook.")]) -> None:
    """Write the source of a playbook: exactly what will be done."""
    for view in found():
        if view.name == name:
            stdout.text(Path(view.path).read_text(encoding="utf-8"))
            return
    raise NotFound(f"there is no playbook {name}", hint="oakctl playbook ls")


@app.command(
    epilog=examples(
        "oakctl playbook run tune --on pi-1",
        "oakctl playbook run base --on pi-1 --on pi-2 --set role=worker --yes",
    )
)
def run(
    name: Annotated[str, typer.Argument(help="The playbook, one of ours or yours.")],
    on: Annotated[list[str], typer.Option("--on", metavar="HOST", help="A host; repeatable.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What the playbook takes; repeatable."),
    ] = None,
    accept_new: AcceptNew = False,
    yes: Yes = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show what a playbook would change on hosts, ask, and do it."""
    settings = _settings(setting or [])
    command = f"oakctl playbook run {name} {' '.join(f'--on {host}' for host in on)} --yes"

    async def main() -> None:
        async with session.root() as client:
            runs = [PlaybookRun(name, host, settings, accept_new) for host in dict.fromkeys(on)]
            asked = [PlanRequest(r.host, playbook=r, accept_new=accept_new) for r in runs]
            plans = (await client.look(LookRequest(tuple(asked)))).plans
            changed = [run for run, plan in zip(runs, plans, strict=True) if _told(plan)]
            if not changed:
                diagnostics.say("no changes")
                return
            question = f"Run {name} on {', '.join(run.host for run in changed)}?"
            await asyncio.to_thread(diagnostics.confirm, question, yes=yes, command=command)
            await _run_all(client, changed, timeout)
            diagnostics.say(f"playbook {name} has run")

    session.run(main())


def _told(plan: HostPlan) -> bool:
    """Show what would be done to a host; whether it is anything. Raises why it was not asked."""
    if plan.fault:
        raise error_for(plan.exit_code, plan.fault, plan.hint, plan.details)
    for step in plan.missing:
        diagnostics.say(f"{plan.host}: {step.step}: {step.message}")
    return bool(plan.missing)


async def _run_all(client: RootClient, runs: list[PlaybookRun], timeout_s: float) -> None:
    """Run on each host; one that fails does not stop the others. Raises the first failure."""

    async def one(run: PlaybookRun) -> None:
        await waiting.operation(
            client,
            lambda trust: client.run_playbook(run),
            accept_new=True,
            wait=True,
            timeout_s=timeout_s,
        )

    ended = await asyncio.gather(*(one(run) for run in runs), return_exceptions=True)
    failures = [each for each in ended if isinstance(each, BaseException)]
    for other in failures[1:]:
        diagnostics.warn(str(other))
    if failures:
        raise failures[0]


def _settings(pairs: list[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        key, marker, value = pair.partition("=")
        if not key.isidentifier() or not marker:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        settings[key] = value
    return settings
