"""`oakctl host`: machines that answer SSH, by name."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated

import typer

from oakctl.cli import diagnostics, findings, host_python, session, ssh
from oakctl.cli.grammar import AcceptNew, Output, SudoPasswordFile, Yes, examples, noun
from oakctl.cli.output import Column, Format, line, listing
from oakctl.errors import ExitCode, NotFound
from oakctl.model.requests import HostCheckRequest
from oakctl.model.views import HostCheck, HostFinding, HostView

app = noun("host", "Machines that answer SSH, by name.")
app.add_typer(host_python.app)

# Neither user nor address begins with a dash: `ssh` and others would take it for an option.
_DESTINATION = re.compile(
    r"(?:(?P<user>[\w.][\w.+-]*)@)?"
    r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<address>[\w.][\w.-]*))"
    r"(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)

COLUMNS = (
    Column[HostView]("Name", lambda host, now: host.name),
    Column[HostView]("Address", lambda host, now: f"{host.address}:{host.port}"),
    Column[HostView]("User", lambda host, now: host.user or "-"),
    Column[HostView]("Role", lambda host, now: host.role or "-"),
    Column[HostView]("Lab", lambda host, now: host.lab or "-"),
    Column[HostView]("Key", lambda host, now: host.identity_file or "-", wide=True),
    Column[HostView]("Jump", lambda host, now: ", ".join(host.jump) or "-", wide=True),
)


def destination(text: str) -> tuple[str, str, int]:
    """(user, address, port) of `user@address:port`; an IPv6 address stands in brackets."""
    match = _DESTINATION.fullmatch(text)
    port = int((match and match["port"]) or 22)
    if match is None or not 0 < port < 65536:
        raise typer.BadParameter(f"{text!r} is not USER@ADDRESS[:PORT]")
    return match["user"] or "", match["six"] or match["address"], port


@app.command(
    epilog=examples(
        "oakctl host add pi-1 pi@192.168.1.20",
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
    """Give a machine a name, or change how it is reached. Nothing is done to it yet."""
    user, where, port = destination(address)
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
            if found.asks_password and diagnostics.can_prompt():
                # One for all of them: a fleet's hosts are usually set up alike.
                first = found.asks_password[0]
                password = await asyncio.to_thread(diagnostics.ask_password, first)
                for host in found.asks_password:
                    await client.give_password(host, password)
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


@app.command("ssh", epilog=examples("oakctl host ssh pi-1"))
def open_shell(name: Annotated[str, typer.Argument(help="The host.")]) -> None:
    """Open a shell on a machine with the system's `ssh`."""
    ssh.become(session.run(_host(name)), ())


@app.command(
    "run",
    context_settings={"ignore_unknown_options": True},
    epilog=examples("oakctl host run pi-1 -- uname -a"),
)
def run(
    name: Annotated[str, typer.Argument(help="The host.")],
    command: Annotated[list[str], typer.Argument(help="Command and arguments, after --.")],
) -> None:
    """Run a command on a machine; its output and exit code become ours."""
    ssh.become(session.run(_host(name)), tuple(command))


@app.command("forget", epilog=examples("oakctl host forget pi-1"))
def forget(name: Annotated[str, typer.Argument(help="The host.")], yes: Yes = False) -> None:
    """Forget a machine; refused while it has a role."""
    diagnostics.confirm(f"Forget host {name}?", yes=yes, command=f"oakctl host forget {name} --yes")

    async def main() -> None:
        async with session.root() as client:
            await client.forget_host(name)

    session.run(main())
    diagnostics.say(f"host {name} is forgotten")


async def _hosts() -> tuple[HostView, ...]:
    async with session.root() as client:
        return await client.hosts()


async def _host(name: str) -> HostView:
    for host in await _hosts():
        if host.name == name:
            return host
    raise NotFound(f"there is no host {name}", hint="oakctl host ls")
