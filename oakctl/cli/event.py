"""`oakctl event`: the timeline."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from oakctl.cli import output as stdout
from oakctl.cli import session
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.model.events import Event
from oakctl.tui.viewmodels.rows import event_line
from oakctl.tui.viewmodels.words import clean

app = noun("event", "The timeline: what happened, when, and why.")

COLUMNS = (
    Column[Event]("Time", lambda event, now: _clock(event)),
    Column[Event]("Kind", lambda event, now: event.kind),
    Column[Event]("Cluster", lambda event, now: event.cluster or "-"),
    Column[Event]("Subject", lambda event, now: event.subject),
    Column[Event]("Message", lambda event, now: event.message),
    Column[Event]("Reason", lambda event, now: event.reason or "-", wide=True),
)


def _clock(event: Event) -> str:
    return datetime.datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S")


@app.command(
    "ls",
    epilog=examples("oakctl event ls", "oakctl event ls -f", "oakctl event ls -f -o json"),
)
def ls(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(min=1, max=100000, help="Only the last so many.")] = 1000,
    output: Output = Format.TABLE,
) -> None:
    """Write the timeline, oldest first. With -f, JSON is one object a line."""

    async def main() -> list[Event]:
        found = []
        async with session.root() as client:
            async for event in client.events(-last, follow, last):
                if follow:
                    _write(event, output)
                else:
                    found.append(event)
        return found

    events = session.run(main())
    if not follow:
        listing(events, output, COLUMNS, lambda event: str(event.id))


def _write(event: Event, output: Format) -> None:
    if output is Format.JSON:
        stdout.json_line(event)
    elif output is Format.YAML:
        stdout.text("---\n")
        listing([event], output, COLUMNS, lambda each: str(each.id))
    elif output is Format.NAME:
        stdout.line(str(event.id))
    else:
        stdout.line(clean(event_line(event, _clock(event))))
