"""The program: every noun, and what happens without one.

Belongs here: putting the commands together. Does not belong here: a command.
"""

from __future__ import annotations

import typer

from oakctl.cli import (
    application,
    chaos_run,
    cluster_grant,
    diagnostics,
    event,
    fleet,
    host_commands,
    image,
    instance,
    lab,
    overlay,
    playbook,
    secret,
    service,
    top,
    worker_token,
)
from oakctl.cli.grammar import Group, examples

app = typer.Typer(
    name="oakctl",
    help="An edge cloud from one terminal: machines that answer SSH become an Oakestra fleet.",
    epilog=examples(
        "oakctl demo                                  see it run on this machine",
        "oakctl cluster create edge --on pi-1         make a cluster of your own",
        "oakctl app apply -f app.yaml                 run an application on it",
    ),
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

top.register(app)
for noun in (
    lab,
    host_commands,
    fleet,
    cluster_grant,
    worker_token,
    application,
    service,
    instance,
    image,
    secret,
    overlay,
    event,
    chaos_run,
    playbook,
):
    app.add_typer(noun.app)


@app.callback(invoke_without_command=True)
def without_noun(context: typer.Context) -> None:
    """Open the terminal app where there is a terminal; show the help where there is none."""
    if context.invoked_subcommand is None:
        if diagnostics.is_terminal():
            top.tui()
        diagnostics.text(context.get_help())
        raise typer.Exit(2)
