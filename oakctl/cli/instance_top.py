"""`oakctl instance top`: what instances use, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from oakctl.cli import output, session
from oakctl.cli.grammar import Output, duration, examples
from oakctl.cli.output import Column, Format, listing
from oakctl.model.instance import InstanceState
from oakctl.model.views import InstanceView
from oakctl.tui.viewmodels import status, words

Service = Annotated[str | None, typer.Option("--service", help="Only of this one.")]
Interval = Annotated[
    float,
    typer.Option(parser=duration, metavar="DURATION", help="How often to look.", show_default="2s"),
]
EVERY: object = "2s"  # workers measure as often
SHORTEST_S = 0.2

COLUMNS = (
    Column[InstanceView]("Name", lambda view, now: words.short_instance(view.name)),
    Column[InstanceView]("CPU", lambda view, now: f"{view.cpu_percent:.1f}%"),
    Column[InstanceView]("Memory", lambda view, now: words.memory(view.memory_mb)),
    Column[InstanceView]("Where", lambda view, now: f"{view.cluster}/{view.worker}"),
    Column[InstanceView]("State", lambda view, now: status.of_instance(view).word),
    Column[InstanceView]("Limits", lambda view, now: view.limits or "-", wide=True),
    Column[InstanceView]("Full name", lambda view, now: view.name, wide=True),
)


def top(service: Service = None, interval: Interval = EVERY, form: Output = Format.TABLE) -> None:  # type: ignore[assignment]
    """Show what running instances use of CPU (percent of a core) and memory, the busiest first.

    On a terminal until Ctrl-C; into a pipe, or with -o json, once.
    """
    live = form in (Format.TABLE, Format.WIDE) and output.is_terminal()

    async def main() -> None:
        async with session.root() as client:
            while True:
                rows = busiest(await client.instances(service))
                if live:
                    output.clear()
                listing(rows, form, COLUMNS, lambda view: view.name)
                if not live:
                    return
                if not rows:
                    output.line("no instance runs")
                await asyncio.sleep(max(SHORTEST_S, interval))

    session.run(main())


def busiest(found: Sequence[InstanceView]) -> list[InstanceView]:
    """Those that run, the most CPU first, then the most memory."""
    running = [view for view in found if view.state is InstanceState.RUNNING]
    return sorted(running, key=lambda view: (-view.cpu_percent, -view.memory_mb, view.name))


def register(app: typer.Typer) -> None:
    """Add the command to its noun."""
    app.command(
        "top",
        epilog=examples(
            "oakctl instance top",
            "oakctl instance top --service Rec",
            "oakctl instance top -o json",
        ),
    )(top)
