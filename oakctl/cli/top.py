"""Commands without a noun: the root process, the screens, the demonstration."""

from __future__ import annotations

from typing import Annotated

import typer

import oakctl
from oakctl.cli import diagnostics, output, session
from oakctl.cli.demo import demo
from oakctl.cli.grammar import Output, Shell, examples
from oakctl.cli.output import Format, record
from oakctl.cli.web import web
from oakctl.errors import UsageError
from oakctl.model.views import Explanation, RootStatus
from oakctl.tui.viewmodels import words
from oakctl.tui.web.session import end_with_server, in_browser


def version() -> None:
    """Write the version."""
    output.line(oakctl.__version__)


def serve(
    keep: Annotated[bool, typer.Option("--keep", help="Stay when there is nothing to do.")] = False,
) -> None:
    """Be the root process; it leaves when idle. Other commands start it where they need it."""
    from oakctl.api import serve as process

    raise typer.Exit(process.run(keep))


def tui(
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Without what would change the fleet.")
    ] = False,
) -> None:
    """Open the terminal app (what `oakctl` alone does)."""
    if in_browser():
        end_with_server()
    else:
        require_terminal("oakctl tui")
    from oakctl.tui.run import run_fleet

    raise typer.Exit(run_fleet(read_only=read_only))


def init() -> None:
    """Set up a fleet step by step: machines, roles, plan, a first application.

    It can be left at any time, and goes on where it was. Without a terminal: `oakctl fleet init`.
    """
    if not diagnostics.is_terminal():
        raise UsageError(
            "`oakctl init` needs a terminal on stdin, stdout and stderr",
            hint="oakctl fleet init USER@ADDRESS… ; oakctl fleet apply --yes",
        )
    from oakctl.tui.run import run_fleet

    raise typer.Exit(run_fleet(begin_with_setup=True))


def require_terminal(command: str) -> None:
    """Raise UsageError where a full-screen program cannot be shown."""
    if not diagnostics.is_terminal():
        raise UsageError(
            f"`{command}` needs a terminal on stdin, stdout and stderr",
            hint="oakctl status, or any list: oakctl service ls",
        )


def status(form: Output = Format.TABLE) -> None:
    """Show the root process and what it looks after."""

    async def main() -> RootStatus:
        async with session.root() as client:
            return await client.status()

    view = session.run(main())
    fields = [
        ("version", view.version),
        ("pid", str(view.pid)),
        ("state", view.state_directory),
        ("clusters", str(view.clusters)),
        ("workers", str(view.workers)),
        ("applications", str(view.applications)),
        ("instances", f"{view.instances_running} running, {view.undelegated} without a cluster"),
        ("memory", words.memory(view.rss_mb)),
    ]
    record(view, form, fields, str(view.pid))


def explain(
    service: Annotated[str, typer.Argument(help="The service, short where that is unique.")],
    form: Output = Format.TABLE,
) -> None:
    """Say why the instances of a service are where they are, or are nowhere."""
    from oakctl.tui.viewmodels import explanation as text

    async def main() -> Explanation:
        async with session.root() as client:
            return await client.explain(service)

    view = session.run(main())
    if form in (Format.JSON, Format.YAML, Format.NAME):
        record(view, form, [], view.job_name)
        return
    for line in text.lines(view):
        output.line(words.clean(line))


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Write the completion script of a shell."""
    from typer._completion_shared import get_completion_script

    output.line(
        get_completion_script(
            prog_name="oakctl", complete_var="_OAKCTL_COMPLETE", shell=shell.value
        )
    )


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("tui", epilog=examples("oakctl tui", "oakctl tui --read-only"))(tui)
    app.command("web", epilog=examples("oakctl web", "oakctl web --port 9000 --allow-changes"))(web)
    app.command("init", epilog=examples("oakctl init"))(init)
    app.command("serve", epilog=examples("oakctl serve --keep"))(serve)
    app.command("status", epilog=examples("oakctl status", "oakctl status -o json"))(status)
    app.command(
        "demo",
        epilog=examples("oakctl demo", "oakctl demo --headless --seconds 30s --report report.json"),
    )(demo)
    app.command("explain", epilog=examples("oakctl explain Rec"))(explain)
    app.command(
        "completion",
        epilog=examples(
            "oakctl completion bash > ~/.local/share/bash-completion/completions/oakctl"
        ),
    )(completion)
    app.command("version", epilog=examples("oakctl version"))(version)
