"""`oakctl host ssh | run | trust`: being on a machine, and believing that it is the one.

Belongs here: those commands. Does not belong here: naming machines and looking at them (`host`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from oakctl.cli import diagnostics, session, ssh
from oakctl.cli.answers import Answers, agreed
from oakctl.cli.grammar import AcceptNew, Output, SudoPasswordFile, Timeout, examples
from oakctl.cli.host import app
from oakctl.cli.output import Format, document, line
from oakctl.errors import ExitCode, NotFound, OakError, UsageError
from oakctl.model.hosts import HostEnded, HostKey, HostOutput, HostRun
from oakctl.model.views import HostView
from oakctl.tui.viewmodels.words import clean

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

RUN_TIMEOUT: Any = "10m"
AFTER_DASHES = "oakctl.after-dashes"


@app.command("ssh", epilog=examples("oakctl host ssh pi-1", "oakctl host ssh pi-1 -- htop"))
def open_shell(
    name: Annotated[str, typer.Argument(help="The host.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="Command instead of a shell, after --.")
    ] = None,
) -> None:
    """Open a shell on a machine with the system's `ssh`, as strict about keys as oakctl is."""

    async def main() -> HostView:
        async with session.root() as client:
            return await _host(client, name)

    ssh.become(session.run(main()), tuple(command or ()))


class _CommandAfterDashes(TyperCommand):
    """Keeps what stands after `--` apart, which would else be one list with what is before it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[AFTER_DASHES] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


@app.command(
    "run",
    cls=_CommandAfterDashes,
    epilog=examples(
        "oakctl host run pi-1 -- uname -a",
        "oakctl host run pi-1 pi-2 --sudo -- systemctl restart docker",
        "oakctl host run --all -o json -- uptime",
    ),
)
def run(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="HOST… -- COMMAND…", help="Where, and what.")
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all", help="On all hosts.")] = False,
    sudo: Annotated[bool, typer.Option("--sudo", help="As the superuser.")] = False,
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    timeout: Timeout = RUN_TIMEOUT,
    output: Output = Format.TABLE,
) -> None:
    """Run a command on machines, side by side; each line of output begins with the host's name.

    Ends with 0 when it did so everywhere, else with the first other exit code. For one host the
    output is as it is. For what reads from the terminal: `oakctl host ssh HOST -- COMMAND`.
    """
    command: tuple[str, ...] = context.meta.get(AFTER_DASHES, ())
    _checked(names or (), command, everywhere)
    results: dict[str, _Result] = {}

    async def main() -> None:
        async with session.root() as client:
            hosts = tuple(names or [host.name for host in await client.hosts()])
            await session.give_password(client, hosts, sudo_password_file)
            wanted = HostRun(hosts, command, sudo, accept_new, timeout)
            await _run(client, wanted, results, output)

    session.run(main())
    if output in (Format.JSON, Format.YAML):
        document([results[name].plain(name) for name in results], output)
    for name, result in results.items():
        if result.ended.error:
            diagnostics.report(_error(name, result.ended))
    code = next((each.ended.exit_code for each in results.values() if each.ended.exit_code), 0)
    raise typer.Exit(code if code >= 0 else int(ExitCode.FAILED))


class _Result:
    """What came of the command on one host; its output is kept only where it is written last."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {"out": [], "err": []}
        self.ended = HostEnded("", int(ExitCode.FAILED), "it has not ended")

    def plain(self, host: str) -> dict[str, object]:
        return {
            "host": host,
            "exit_code": self.ended.exit_code,
            "stdout": "".join(f"{each}\n" for each in self.lines["out"]),
            "stderr": "".join(f"{each}\n" for each in self.lines["err"]),
            "error": self.ended.error,
        }


def _checked(names: Sequence[str], command: Sequence[str], everywhere: bool) -> None:
    if not command or bool(names) == everywhere:
        raise UsageError(
            "which hosts, and which command?", hint="oakctl host run pi-1 pi-2 -- uname -a"
        )


async def _run(
    client: RootClient, wanted: HostRun, results: dict[str, _Result], output: Format
) -> None:
    """Run it, and once more where only an answer of the operator was missing."""
    answers = Answers(client)
    prefix = len(wanted.hosts) > 1
    hosts = wanted.hosts
    while hosts:
        results |= {name: _Result() for name in hosts}
        now = HostRun(hosts, wanted.command, wanted.sudo, wanted.accept_new, wanted.timeout_s)
        async with aclosing(client.access.run(now)) as events:
            async for event in events:
                _take(event, results[event.host], prefix, output)
        failed = [name for name in hosts if results[name].ended.error]
        hosts = tuple([n for n in failed if await answers.settle(n, results[n].ended.error)])


def _take(event: HostOutput | HostEnded, result: _Result, prefix: bool, output: Format) -> None:
    if isinstance(event, HostEnded):
        result.ended = event
        return
    if output in (Format.JSON, Format.YAML):
        result.lines[event.stream].append(event.text)
        return
    text = f"{event.host}: {event.text}" if prefix else event.text
    text = clean(text, len(text))
    if event.stream == "out":
        line(text)
    else:
        diagnostics.say(text)


def _error(host: str, ended: HostEnded) -> OakError:
    message = ended.error if host in ended.error else f"{host}: {ended.error}"
    return OakError(message, hint=ended.hint, details=ended.details)


async def _host(client: RootClient, name: str) -> HostView:
    for host in await client.hosts():
        if host.name == name:
            return host
    raise NotFound(f"there is no host {name}", hint="oakctl host ls")


@app.command(
    epilog=examples(
        "oakctl host trust pi-1",
        "oakctl host trust pi-1 --fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    )
)
def trust(
    name: Annotated[str, typer.Argument(help="The host.")],
    fingerprint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHA256:…", help="Trust a key with this fingerprint, unasked; repeatable."
        ),
    ] = None,
) -> None:
    """Trust the key that a machine shows, also in the place of another one: it was set up anew.

    Jump hosts on the way come first. No file is written but oakctl's own.
    """

    async def main() -> HostKey:
        async with session.root() as client:
            while (key := await client.access.key(name)).state != "trusted":
                await client.access.trust(name, _chosen(name, key, fingerprint or []))
                diagnostics.say(f"{key.machine}: {key.presented} is trusted")
            return key

    key = session.run(main())
    diagnostics.say(f"the key of {key.machine} ({key.where}) is known: {key.presented}")


def _chosen(name: str, key: HostKey, allowed: Sequence[str]) -> str:
    """The fingerprint that is to be trusted; raises OakError when it is not."""
    if key.state == "revoked":
        return key.fingerprint  # refused by the root, with the reason
    if key.fingerprint in allowed:
        return key.fingerprint
    seen = f"{key.machine} ({key.where}) shows {key.presented}"
    if allowed:
        raise OakError(f"{seen}, not {' or '.join(allowed)}: nothing was changed")
    if not diagnostics.can_prompt():
        raise UsageError(
            f"there is no terminal to ask on: {seen}, {key.state}",
            hint="compare it with the machine's own (ssh-keygen -lf "
            f"/etc/ssh/ssh_host_ed25519_key.pub), then: oakctl host trust {name} "
            f"--fingerprint {key.fingerprint}",
        )
    if not agreed(name, key):
        raise OakError(f"{key.machine}: not trusted, nothing was changed")
    return key.fingerprint
