"""`oakctl lab`: hosts on this machine to try it on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oakctl import paths
from oakctl.cli import diagnostics, session, source, ssh
from oakctl.cli.grammar import Output, Yes, duration, examples, noun, share
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.model.views import HostView, OperationView

if TYPE_CHECKING:
    from oakctl.client.root import RootClient
    from oakctl.lab.labs import Lab
    from oakctl.lab.loopback import Lab as Loopback
    from oakctl.lab.machines.lab import Lab as Machines
    from oakctl.lab.machines.lab_file import LabPlan

app = noun("lab", "Hosts on this machine to try it on: SSH servers, or real ones as root.")

DEFAULT_LAB = "demo"
MOST_HOSTS = 100
REMOVAL_S = 150.0  # longer than a drain may take


class Kind(str, Enum):
    """How hosts are made."""

    LOOPBACK = "loopback"
    MACHINES = "machines"
    NAMESPACES = "namespaces"


@dataclass(frozen=True)
class LabHostView:
    """One host of a lab, as it is listed."""

    lab: str
    name: str
    address: str
    port: int
    on: bool
    cut: bool = False


COLUMNS = (
    Column[LabHostView]("Lab", lambda view, now: view.lab),
    Column[LabHostView]("Host", lambda view, now: view.name),
    Column[LabHostView]("Address", lambda view, now: f"{view.address}:{view.port}"),
    Column[LabHostView]("Power", lambda view, now: "on" if view.on else "off"),
    Column[LabHostView]("Cables", lambda view, now: "pulled" if view.cut else "plugged"),
)

Name = Annotated[str, typer.Option("--name", help="Which lab.")]
LabName = Annotated[str, typer.Argument(metavar="[LAB]", help="Which lab.", show_default=False)]
Host = Annotated[str, typer.Argument(help="The host.")]


@app.command(
    epilog=examples(
        "oakctl lab up --kind loopback",
        "oakctl lab up --name small --hosts 3 --kind loopback",
        "oakctl lab up --kind namespaces -f lab.yaml",
        "sudo oakctl lab up --kind machines -f lab.yaml",
    )
)
def up(
    kind: Annotated[
        Kind,
        typer.Option(
            help="How hosts are made: SSH servers on loopback addresses, network namespaces "
            "behind routers, or Debian by systemd-nspawn (root)."
        ),
    ] = Kind.LOOPBACK,
    name: Name = DEFAULT_LAB,
    hosts: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_HOSTS,
            help="This many equal hosts (0: the demo's seven, or three machines).",
            show_default=False,
        ),
    ] = 0,
    file: Annotated[
        Path | None,
        typer.Option("-f", "--file", help="Which hosts, behind which routers: a lab.yaml."),
    ] = None,
    install: Annotated[
        bool,
        typer.Option(
            "--install/--no-install",
            help="Whether Debian packages that machines need may be installed here.",
        ),
    ] = True,
) -> None:
    """Make hosts that answer SSH, and tell the root of them. Brings back what is missing."""
    if file is not None and (hosts or kind is Kind.LOOPBACK):
        raise UsageError(
            "-f says which hosts there are, and behind which routers, so it goes with "
            "--kind namespaces or machines and no --hosts",
            hint=f"oakctl lab up --kind namespaces -f {file}",
        )
    plan = _plan(name, hosts, file, kind)

    async def main() -> Lab:
        lab = await _made(kind, name, hosts, plan, install=install)
        async with session.root() as client:
            for host in lab.hosts:
                await _register(client, host)
        return lab

    lab = session.run(main())
    for host in lab.hosts:
        diagnostics.say(f"host {host.name} answers at {host.address}:{host.port}")


def _plan(name: str, hosts: int, file: Path | None, kind: Kind) -> LabPlan | None:
    """What was asked for of hosts with a network; None: the kind's own, or none."""
    from oakctl.lab.machines import lab_file

    if file is not None:
        try:
            return lab_file.parse(source.content(file).decode())
        except UnicodeDecodeError as error:
            raise UsageError(f"{source.named(file)} is not UTF-8 text") from error
    if kind is Kind.LOOPBACK:
        return None
    if hosts:
        return lab_file.equal_hosts(name, hosts)
    return lab_file.DEFAULT if kind is Kind.MACHINES else None


async def _made(kind: Kind, name: str, hosts: int, plan: LabPlan | None, *, install: bool) -> Lab:
    from oakctl.lab import loopback
    from oakctl.lab.machines import lab as machines
    from oakctl.lab.namespaces import layout as light

    if kind is Kind.MACHINES and plan is not None:
        return await machines.up(name, plan, diagnostics.say, install=install)
    if kind is Kind.NAMESPACES:
        return await light.up(name, plan, diagnostics.say)
    layout = loopback.DEMO_HOSTS
    if hosts:
        layout = tuple(loopback.LabHost(f"{name}-{i + 1}") for i in range(hosts))
    return await loopback.up(name, layout, diagnostics.say)


@app.command(epilog=examples("oakctl lab down", "oakctl lab down small"))
def down(lab: LabName = "", name: Name = DEFAULT_LAB) -> None:
    """End everything of a lab, forget its hosts and what was built on them."""
    which = lab or name

    async def main() -> None:
        from oakctl.lab import labs

        # Where no root ever was, none has to be told, and none is started for it.
        if not paths.database().exists() or not await _root_starts():
            await labs.down(which, diagnostics.say)
            return
        async with session.root() as client:
            hosts = {host.name for host in await client.hosts() if host.lab == which}
            if hosts:
                await _turn_on(which)
                await _take_apart(client, hosts)
            await labs.down(which, diagnostics.say)
            for host in sorted(hosts):
                await _forget(client, host)

    session.run(main())
    diagnostics.say(f"lab {which} is gone")


@app.command("ls", epilog=examples("oakctl lab ls", "oakctl lab ls -o json"))
def ls(output: Output = Format.TABLE) -> None:
    """List the hosts of every lab."""
    from oakctl.lab import labs

    views = [
        LabHostView(
            lab.name,
            host.name,
            host.address,
            host.port,
            host.name in lab.on,
            host.name in lab.cut,
        )
        for lab in labs.ls()
        for host in lab.hosts
    ]
    listing(views, output, COLUMNS, lambda view: view.name)


@app.command("ssh", epilog=examples("oakctl lab ssh edge-w1", "oakctl lab ssh edge-w1 -- uname -a"))
def open_shell(
    host: Host,
    command: Annotated[
        list[str] | None, typer.Argument(help="Command instead of a shell, after --.")
    ] = None,
    name: Name = DEFAULT_LAB,
) -> None:
    """Open a shell on a host of a lab with the system's `ssh`."""
    from oakctl.lab import labs

    ssh.become(labs.load(name).host(host), tuple(command or ()))


@app.command(epilog=examples("oakctl lab stop edge-w1"))
def stop(host: Host, name: Name = DEFAULT_LAB) -> None:
    """Shut a host down: everything on it is asked to end, then killed."""
    _power(name, host, lambda lab: lab.stop_host(host))
    diagnostics.say(f"host {host} is off")


@app.command(epilog=examples("oakctl lab start edge-w1"))
def start(host: Host, name: Name = DEFAULT_LAB) -> None:
    """Turn a host on; what was kept running on it starts again."""
    _power(name, host, lambda lab: lab.start_host(host))
    diagnostics.say(f"host {host} is on")


@app.command("power-cut", epilog=examples("oakctl lab power-cut edge-w1 --yes"))
def power_cut(host: Host, name: Name = DEFAULT_LAB, yes: Yes = False) -> None:
    """Kill everything on a host at once and leave it off."""
    diagnostics.confirm(f"Cut the power of {host}?", yes=yes)
    _power(name, host, lambda lab: lab.power_cut(host))
    diagnostics.say(f"host {host} lost its power")


@app.command(epilog=examples("oakctl lab cut m1"))
def cut(host: Host, name: Name = DEFAULT_LAB) -> None:
    """Pull all network cables of a host; it runs on. `heal` plugs them in."""
    _on_cables(name, lambda lab: lab.cut_host(host))
    diagnostics.say(f"host {host} is cut off")


@app.command(epilog=examples("oakctl lab slow edge-w1 --delay 20ms --loss 1%"))
def slow(
    host: Host,
    delay: Annotated[
        float,
        typer.Option(
            parser=duration, metavar="DURATION", help="What each packet, each way, takes longer."
        ),
    ] = 0.0,
    loss: Annotated[
        float,
        typer.Option(parser=share, metavar="PERCENT", help="How many packets are lost, each way."),
    ] = 0.0,
    name: Name = DEFAULT_LAB,
) -> None:
    """Delay and lose packets on the cable of a light host; `heal` undoes it."""
    from oakctl.lab.slow import Slow

    wanted = Slow(delay * 1e3, loss)
    if wanted == Slow():
        raise UsageError(
            "neither a delay nor a loss is given", hint=f"oakctl lab slow {host} --delay 20ms"
        )
    _on_light_host(name, lambda lab: lab.slow_host(host, wanted))
    diagnostics.say(f"host {host}: {delay * 1e3:g} ms each way, {loss:.3%} lost")


@app.command(epilog=examples("oakctl lab heal m1"))
def heal(host: Host, name: Name = DEFAULT_LAB) -> None:
    """Plug the network cables of a host in again, as fast as they were."""
    _on_cables(name, lambda lab: lab.heal_host(host))
    diagnostics.say(f"host {host} is connected")


@app.command(epilog=examples("oakctl lab reflash m1 --yes"))
def reflash(host: Host, name: Name = DEFAULT_LAB, yes: Yes = False) -> None:
    """Make a machine anew: an empty disk and another host key, which nobody trusts yet."""
    diagnostics.confirm(f"Erase {host} and install it anew?", yes=yes)
    _on_machine(name, lambda lab: lab.reflash_hosts([host]))
    diagnostics.say(f"host {host} is new; `oakctl lab up` makes its new key known")


def _on_cables(name: str, action: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    from oakctl.lab import labs

    session.run(action(labs.with_cables(labs.load(name))))


def _on_light_host(name: str, action: Callable[[Loopback], Coroutine[Any, Any, None]]) -> None:
    from oakctl.lab import labs

    session.run(action(labs.with_light_hosts(labs.load(name))))


def _on_machine(name: str, action: Callable[[Machines], Coroutine[Any, Any, None]]) -> None:
    from oakctl.lab import labs

    session.run(action(labs.with_disks(labs.load(name))))


def _power(name: str, host: str, action: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    from oakctl.lab import labs

    session.run(action(labs.load(name)))


async def _root_starts() -> bool:
    """Whether there is a root to tell; a lab goes also when it cannot be told."""
    from oakctl.client.process import ensure_root

    try:
        await ensure_root(told=diagnostics.say)
    except OakError as error:
        diagnostics.warn(f"the root is not told: {error.message} ({error.hint})")
        return False
    return True


async def _register(client: RootClient, host: HostView) -> None:
    known = {each.name: each for each in await client.hosts()}.get(host.name)
    if known is None or (known.address, known.port, known.lab) != (
        host.address,
        host.port,
        host.lab,
    ):
        await client.put_host(host)


async def _turn_on(name: str) -> None:
    """Hosts that are off come back, so that what is on them can be removed in order."""
    from oakctl.lab import labs

    try:
        lab = labs.load(name)
        for host in lab.hosts:
            if host.name in lab.cut:
                await labs.with_cables(lab).heal_host(host.name)
            if host.name not in lab.on:
                await lab.start_host(host.name)
    except OakError as error:  # it may be half gone already; taking it down goes on
        diagnostics.warn(error.message)


async def _take_apart(client: RootClient, hosts: set[str]) -> None:
    """Remove the workers and clusters on `hosts`; what cannot be removed is told and forgotten."""
    workers = [view for view in await client.workers() if view.host in hosts]
    await asyncio.gather(
        *(
            _removed(
                client,
                f"{view.cluster}/{view.name}",
                partial(client.remove_worker, view.cluster, view.name),
            )
            for view in workers
        )
    )
    clusters = [view for view in await client.clusters() if view.host in hosts]
    await asyncio.gather(
        *(
            _removed(client, view.name, partial(client.remove_cluster, view.name))
            for view in clusters
        )
    )


async def _removed(
    client: RootClient, what: str, begin: Callable[..., Coroutine[Any, Any, OperationView]]
) -> None:
    """In order; by force when its host does not answer, as the lab takes the host away anyway."""
    try:
        view = await begin()
        diagnostics.say(f"removing {what}")
        await client.wait_operation(view.id, REMOVAL_S)
    except OakError as error:
        diagnostics.warn(f"{what}: {error.message}; it is forgotten by force")
    else:
        return
    try:
        view = await begin(force=True)
        await client.wait_operation(view.id, REMOVAL_S)
    except OakError as error:
        diagnostics.warn(f"{what}: {error.message}")


async def _forget(client: RootClient, host: str) -> None:
    try:
        await client.forget_host(host)
    except NotFound:
        return
    except Conflict as error:
        diagnostics.warn(f"host {host}: {error.message}")
