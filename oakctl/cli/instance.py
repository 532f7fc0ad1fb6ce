"""`oakctl instance`: where instances are, how they do, what they print."""

from __future__ import annotations

from typing import Annotated

import typer

from oakctl.cli import instance_copy, instance_exec, instance_top, session
from oakctl.cli import output as stdout
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format, listing, record
from oakctl.model.views import InstanceView
from oakctl.tui.viewmodels import status, words

app = noun("instance", "Instances: where they are, how they do, what they print.")

Name = Annotated[str, typer.Argument(help="The instance, like Rec.instance.0.")]

COLUMNS = (
    Column[InstanceView]("Name", lambda view, now: words.short_instance(view.name)),
    Column[InstanceView]("State", lambda view, now: status.of_instance(view).word),
    Column[InstanceView]("Where", lambda view, now: where(view)),
    Column[InstanceView]("Since", lambda view, now: words.age(view.since, now)),
    Column[InstanceView]("Restarts", lambda view, now: str(view.restarts)),
    Column[InstanceView]("CPU", lambda view, now: f"{view.cpu_percent:.0f}%"),
    Column[InstanceView]("Memory", lambda view, now: words.memory(view.memory_mb)),
    Column[InstanceView]("Address", lambda view, now: view.address or "-", wide=True),
    Column[InstanceView]("Listens on", lambda view, now: view.bind or "-", wide=True),
    Column[InstanceView]("PID", lambda view, now: str(view.pid or "-"), wide=True),
    Column[InstanceView]("Epoch", lambda view, now: str(view.epoch), wide=True),
    Column[InstanceView]("Full name", lambda view, now: view.name, wide=True),
    Column[InstanceView]("Reason", lambda view, now: view.reason or "-"),
)


def where(view: InstanceView) -> str:
    """ "edge/w1", as far as it is known."""
    return f"{view.cluster}/{view.worker}" if view.worker else view.cluster or "-"


@app.command(
    "ls", epilog=examples("oakctl instance ls", "oakctl instance ls --service Rec -o wide")
)
def ls(
    service: Annotated[str | None, typer.Option("--service", help="Only of this one.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List the instances of one service, or of all."""

    async def main() -> tuple[InstanceView, ...]:
        async with session.root() as client:
            return await client.instances(service)

    listing(session.run(main()), output, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl instance show Rec.instance.0"))
def show(name: Name, output: Output = Format.TABLE) -> None:
    """Show one instance."""

    async def main() -> InstanceView:
        async with session.root() as client:
            return await client.instance(name)

    view = session.run(main())
    fields = [
        ("name", view.name),
        ("state", status.of_instance(view).word),
        ("reason", view.reason or "-"),
        ("where", where(view)),
        ("epoch", str(view.epoch)),
        ("address", view.address or "-"),
        ("listens on", view.bind or "-"),
        ("pid", str(view.pid or "-")),
        ("exit code", "-" if view.exit_code is None else str(view.exit_code)),
        ("restarts", str(view.restarts)),
        ("limits", view.limits or "-"),
        ("consumption", f"cpu {view.cpu_percent:.0f}%, {words.memory(view.memory_mb)}"),
    ]
    fields += [(metric, words.number(value)) for metric, value in sorted(view.metrics.items())]
    record(view, output, fields, view.name)


@app.command(
    epilog=examples(
        "oakctl instance logs Rec.instance.0",
        "oakctl instance logs -f Rec.instance.0",
        "oakctl instance logs --tail 4096 Rec.instance.0",
    )
)
def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=0, metavar="BYTES", help="How much of its end.")] = 65536,
) -> None:
    """Write what an instance printed, the end of it first."""

    async def main() -> None:
        async with session.root() as client:
            async for chunk in client.logs(name, tail, follow):
                stdout.log_text(chunk)

    session.run(main())


for part in (instance_exec, instance_copy, instance_top):
    part.register(app)
