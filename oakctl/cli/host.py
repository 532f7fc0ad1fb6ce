"""`oakctl host`: machines that answer SSH, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, findings, host_python, session
from oakctl.cli.answers import LOCKED_KEY, SUDO_ASKS, Answers
from oakctl.cli.grammar import AcceptNew, Output, SudoPasswordFile, Yes, examples, noun
from oakctl.cli.output import Column, Format, line, listing, record
from oakctl.errors import ExitCode, NotFound
from oakctl.model import destinations
from oakctl.model.hosts import HostReach, Machine
from oakctl.model.requests import HostCheckRequest
from oakctl.model.views import HostCheck, HostFinding, HostView

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

app = noun("host", "Machines that answer SSH, by name.")
app.add_typer(host_python.app)

COLUMNS = (
    Column[HostView]("Name", lambda host, now: host.name),
    Column[HostView]("Address", lambda host, now: _where(host.address, host.port)),
    Column[HostView]("User", lambda host, now: host.user or "-"),
    Column[HostView]("Role", lambda host, now: host.role or "-"),
    Column[HostView]("Lab", lambda host, now: host.lab or "-"),
    Column[HostView]("Key", lambda host, now: host.identity_file or "-", wide=True),
    Column[HostView]("Jump", lambda host, now: ", ".join(host.jump) or "-", wide=True),
)


def _where(address: str, port: int) -> str:
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{port}" if port else shown


def destination(text: str, unsaid: int = 22) -> tuple[str, str, int]:
    """(user, address, port) of `user@address:port`; an IPv6 address stands in brackets.

    `unsaid` is the port where none is written.
    """
    try:
        return destinations.read(text, unsaid)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command(
    epilog=examples(
        "oakctl host add pi-1 pi@192.168.1.20",
        "oakctl host add garden garden-pi   # an alias in ~/.ssh/config",
        "oakctl host add cam admin@10.0.0.7:2222 -i ~/.ssh/id_ed25519 --jump me@gate.example.org",
    )
)
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    address: Annotated[str, typer.Argument(metavar="USER@ADDRESS[:PORT]", help="Where it is.")],
    identity: Annotated[
        Path | None, typer.Option("-i", "--identity", help="Private key file.")
    ] = None,
    jump: Annotated[
        list[str] | None,
        typer.Option("--jump", metavar="USER@ADDRESS[:PORT]", help="Hop on the way; repeatable."),
    ] = None,
) -> None:
    """Give a machine a name, or change how it is reached. Nothing is done to it yet.

    What is not given here is as ~/.ssh/config says when the machine is reached.
    """
    user, where, port = destination(address, unsaid=0)
    for hop in jump or []:
        destination(hop)
    if identity is not None and not identity.expanduser().is_file():
        raise NotFound(f"there is no key file {identity}", hint="ls ~/.ssh")
    key = str(identity.expanduser().resolve()) if identity is not None else ""
    host = HostView(name, where, port, user, key, tuple(jump or ()))

    async def main() -> None:
        async with session.root() as client:
            await client.put_host(host)

    session.run(main())
    diagnostics.say(f"host {name} is known")


@app.command("ls", epilog=examples("oakctl host ls", "oakctl host ls -o name"))
def ls(output: Output = Format.TABLE) -> None:
    """List the machines that are known."""
    listing(session.run(_hosts()), output, COLUMNS, lambda host: host.name)


FINDINGS = (
    Column[HostFinding]("Host", lambda found, now: found.host),
    Column[HostFinding]("Severity", lambda found, now: found.severity),
    Column[HostFinding]("About", lambda found, now: found.topic),
    Column[HostFinding]("Finding", lambda found, now: found.message),
    Column[HostFinding]("Remedy", lambda found, now: found.remedy or "-"),
)


@app.command(
    epilog=examples(
        "oakctl host check",
        "oakctl host check pi-1 pi-2 -o json",
        "oakctl host check --orchestrator hub pi-1 pi-2",
    )
)
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="HOST…", help="Which; without any, all.")
    ] = None,
    orchestrator: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="Also try whether the others reach the port of a bus on this one. "
            "It listens there for some seconds.",
        ),
    ] = "",
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    output: Output = Format.TABLE,
) -> None:
    """Look at machines and tell all that stands in the way; nothing is changed on them.

    Findings are told host by host, worst first, each with what to type: "block" - it cannot be
    used as it is; "fixable" - something will not work until that is done; "note" - worth knowing.
    Ends with 0 when all of them can be used, with 1 when something blocks one.
    """
    request = HostCheckRequest(tuple(names or ()), accept_new, orchestrator)

    async def main() -> HostCheck:
        async with session.root() as client:
            hosts = request.hosts or [host.name for host in await client.hosts()]
            asked = dict.fromkeys([*hosts, *([orchestrator] if orchestrator else [])])
            await session.give_password(client, list(asked), sudo_password_file)
            found = await client.check_hosts(request)
            if await _settled(client, found):
                found = await client.check_hosts(request)
            return found

    found = session.run(main())
    if output is Format.TABLE:
        for each in findings.lines(found):
            line(each)
    else:
        listing(found.findings, output, FINDINGS, lambda each: each.host)
    if findings.blocks(found):
        raise typer.Exit(int(ExitCode.FAILED))


async def _settled(client: RootClient, found: HostCheck) -> bool:
    """Ask for what hosts were not looked at without; whether they are worth another look."""
    answers = Answers(client)
    locked = [each.host for each in found.findings if LOCKED_KEY in each.message]
    asked = [await answers.settle(host, LOCKED_KEY) for host in locked]
    # One for all of them: a fleet's hosts are usually set up alike.
    asked += [await answers.settle(host, SUDO_ASKS) for host in found.asks_password]
    return any(asked)


@app.command(epilog=examples("oakctl host show pi-1", "oakctl host show pi-1 -o json"))
def show(
    name: Annotated[str, typer.Argument(help="The host.")], output: Output = Format.TABLE
) -> None:
    """Show how a machine is reached, and where each part of that was said."""

    async def main() -> HostReach:
        async with session.root() as client:
            return await client.access.reach(name)

    reach = session.run(main())
    record(reach, output, [field for each in reach.machines for field in _fields(each)], name)


def _fields(machine: Machine) -> list[tuple[str, str]]:
    said = machine.origins

    def told(what: str, text: str) -> str:
        return f"{text} ({said[what]})" if said.get(what) else text

    keys = ", ".join(machine.keys) or "the agent's, and ~/.ssh/id_*"
    return [
        ("Machine", machine.name),
        ("  Address", told("address", machine.address)),
        ("  Port", told("port", str(machine.port))),
        ("  User", told("user", machine.user)),
        ("  Keys", told("keys", keys)),
        *([("  Through", told("jump", machine.proxy_command))] if machine.proxy_command else []),
        *(("  Locked", f"{file}: its passphrase is asked for") for file in machine.locked),
        *(("  Not honoured", remark) for remark in machine.remarks),
    ]


@app.command("forget", epilog=examples("oakctl host forget pi-1"))
def forget(name: Annotated[str, typer.Argument(help="The host.")], yes: Yes = False) -> None:
    """Forget a machine; refused while it has a role."""
    diagnostics.confirm(f"Forget host {name}?", yes=yes)

    async def main() -> None:
        async with session.root() as client:
            await client.forget_host(name)

    session.run(main())
    diagnostics.say(f"host {name} is forgotten")


async def _hosts() -> tuple[HostView, ...]:
    async with session.root() as client:
        return await client.hosts()
