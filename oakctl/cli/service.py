"""`oakctl service`: what is wanted of a service, and what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, port_forward, session, waiting
from oakctl.cli.grammar import DEFAULT_TIMEOUT, Output, Timeout, Wait, examples, noun
from oakctl.cli.output import Column, Format, listing, record
from oakctl.errors import OakError
from oakctl.model.views import ServiceView
from oakctl.tui.viewmodels import words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

app = noun("service", "Services: what is wanted, and what there is.")

Name = Annotated[str, typer.Argument(help="The service, short where that is unique.")]

COLUMNS = (
    Column[ServiceView]("Name", lambda view, now: view.name),
    Column[ServiceView]("Application", lambda view, now: view.application),
    Column[ServiceView]("State", lambda view, now: view.state),
    Column[ServiceView]("Ready", lambda view, now: words.readiness(view)),
    Column[ServiceView]("Asks for", lambda view, now: words.amounts(view.requests)),
    Column[ServiceView]("Address", lambda view, now: view.rr_ip or "-"),
    Column[ServiceView]("Closest", lambda view, now: view.closest_ip or "-", wide=True),
    Column[ServiceView]("Ports", lambda view, now: _ports(view), wide=True),
    Column[ServiceView]("Job name", lambda view, now: view.job_name, wide=True),
    Column[ServiceView]("Reason", lambda view, now: view.reason or "-"),
)


def _ports(view: ServiceView) -> str:
    return ", ".join(f"{port.container}/{port.protocol}" for port in view.ports) or "-"


@app.command(
    "ls", epilog=examples("oakctl service ls", "oakctl service ls --app ar.default -o json")
)
def ls(
    application: Annotated[str | None, typer.Option("--app", help="Only of this one.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """List the services of one application, or of all."""

    async def main() -> tuple[ServiceView, ...]:
        async with session.root() as client:
            return await client.services(application)

    listing(session.run(main()), output, COLUMNS, lambda view: view.job_name)


@app.command(epilog=examples("oakctl service show Rec", "oakctl service show Rec -o json"))
def show(name: Name, output: Output = Format.TABLE) -> None:
    """Show one service."""

    async def main() -> ServiceView:
        async with session.root() as client:
            return await client.service(name)

    view = session.run(main())
    fields = [
        ("name", view.job_name),
        ("application", view.application),
        ("state", view.state),
        ("reason", view.reason or "-"),
        ("instances", f"{view.wanted} wanted, {view.running} running, {view.ready} ready"),
        ("scales by itself", words.scaling(view.spec.autoscale)),
        ("asks for", words.amounts(view.requests)),
        ("balanced address", view.rr_ip or "-"),
        ("closest address", view.closest_ip or "-"),
        ("least loaded address", view.least_ip or "-"),
        ("ports", _ports(view)),
        ("runtime", view.spec.virtualization),
        ("talks to", ", ".join(link.target for link in view.spec.connectivity) or "-"),
        ("not enforced", ", ".join(view.spec.not_enforced) or "-"),
    ]
    record(view, output, fields, view.job_name)


@app.command(
    epilog=examples("oakctl service scale Rec 2", "oakctl service scale Rec 2 --wait --timeout 1m")
)
def scale(
    name: Name,
    replicas: Annotated[int, typer.Argument(min=0, help="How many instances are wanted.")],
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Set how many instances of a service are wanted."""

    async def main() -> ServiceView:
        async with session.root() as client:
            view = await client.scale(name, replicas)
            if wait:
                await _settled(client, view.job_name, timeout)
            return view

    view = session.run(main())
    diagnostics.say(f"{view.name}: {replicas} {'ready' if wait else 'wanted'}")


@app.command(
    epilog=examples("oakctl service restart Rec", "oakctl service restart Rec --wait --timeout 1m")
)
def restart(
    name: Name,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="All of them end, then all are started anew.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Replace the instances of a service one after the other, each by a new one first.

    By that they take the newest values of their secrets. What has room for no instance more needs
    --at-once.
    """

    async def main() -> ServiceView:
        async with session.root() as client:
            view = await client.restart(name, at_once=at_once)
            if wait:
                await _settled(client, view.job_name, timeout)
            return view

    view = session.run(main())
    count = words.count(view.wanted, "instance")
    how = "to be started anew" if at_once else "to be replaced, one after the other"
    diagnostics.say(f"{view.name}: {count} {'ready again' if wait else how}")


@app.command(
    epilog=examples(
        "oakctl service migrate Rec.instance.0 --to edge/pi-2",
        "oakctl service migrate Rec.instance.0 --to pi-2 --wait",
    )
)
def migrate(
    instance: Annotated[str, typer.Argument(help="The instance, short where that is unique.")],
    to: Annotated[str, typer.Option("--to", help="The worker: CLUSTER/WORKER, or its name.")],
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Replace an instance by one on another worker; it ends when that one is ready."""

    async def main() -> ServiceView:
        async with session.root() as client:
            view = await client.migrate(instance, to)
            if wait:
                await _settled(client, view.job_name, timeout)
            return view

    view = session.run(main())
    diagnostics.say(f"{view.name}: {instance} {'is on' if wait else 'goes to'} {to}")


async def _settled(client: RootClient, job_name: str, timeout_s: float) -> None:
    async def fetch() -> list[ServiceView]:
        return [await client.service(job_name)]

    await waiting.until_settled(client, fetch, timeout_s)
    view = await client.service(job_name)
    if view.halted:
        raise OakError(
            f"{view.name}: given up, and what ran before goes on: {view.halted}",
            hint=f"oakctl explain {view.name}",
        )


port_forward.register(app)
