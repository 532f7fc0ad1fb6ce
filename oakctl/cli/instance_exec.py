"""`oakctl instance exec`: a command beside an instance, with this terminal or without one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, session, terminal
from oakctl.cli.grammar import examples
from oakctl.errors import OakError, UsageError
from oakctl.model.sessions import EXEC, STDERR, Data, Ended, SessionRequest

if TYPE_CHECKING:
    from oakctl.client.sessions import ClientSession

Instance = Annotated[str, typer.Argument(help="The instance, like Rec.instance.0.")]
Command = Annotated[list[str], typer.Argument(help="What to run there, and its arguments.")]
Interactive = Annotated[
    bool, typer.Option("-i", "--stdin", help="Give it what comes on standard input.")
]
Tty = Annotated[bool, typer.Option("-t", "--tty", help="Give it a terminal: this one.")]


def run(instance: Instance, command: Command, stdin: Interactive = False, tty: Tty = False) -> None:
    """Run a command beside an instance: as its user, in its limits, directory and environment.

    In a container where the instance is one. The command's exit code is the exit code of this
    call; 255 with a message: the session broke off. Ctrl-C ends the command; with -t it goes to
    the command like any other key. What the command writes goes to this terminal as it is.
    """
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise UsageError("there is no command to run", hint="oakctl instance exec --help")
    if tty:
        terminal.require("oakctl instance exec")
    rows, columns = terminal.size() if tty else (0, 0)
    request = SessionRequest(
        instance,
        EXEC,
        command=tuple(words),
        tty=tty,
        stdin=stdin,
        rows=rows,
        columns=columns,
        term=os.environ.get("TERM", "") if tty else "",
    )
    last = session.run(_main(request))
    if last.error:
        diagnostics.report(OakError(f"{instance}: {last.error}", hint=last.hint))
    raise typer.Exit(last.code)


async def _main(request: SessionRequest) -> Ended:
    async with session.root() as client, client.sessions.open(request) as opened:
        terminal.flush()
        with terminal.raw() if request.tty else contextlib.nullcontext():
            return await _carry(opened, request)


async def _carry(opened: ClientSession, request: SessionRequest) -> Ended:
    feeding = asyncio.create_task(_feed(opened)) if request.stdin else None
    try:
        with _resizing(opened) if request.tty else contextlib.nullcontext():
            while not isinstance(event := await opened.read(), Ended):
                if isinstance(event, Data):
                    to_errors = event.channel == STDERR
                    await terminal.write(
                        terminal.ERRORS if to_errors else terminal.OUTPUT, event.data
                    )
            return event
    finally:
        if feeding is not None:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _feed(opened: ClientSession) -> None:
    """Standard input, to its end; a session that has ended needs no more of it."""
    while data := await terminal.read():
        await opened.write(data)
    await opened.close_input()


@contextlib.contextmanager
def _resizing(opened: ClientSession) -> Iterator[None]:
    """The command's terminal follows the size of this one."""
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a session that is over has no terminal

    def tell() -> None:
        task = loop.create_task(opened.resize(*terminal.size()))
        under_way.add(task)
        task.add_done_callback(ended)

    loop.add_signal_handler(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        for task in tuple(under_way):
            task.cancel()


def register(app: typer.Typer) -> None:
    """Add the command to its noun."""
    app.command(
        "exec",
        context_settings={"allow_interspersed_args": False},
        epilog=examples(
            "oakctl instance exec Rec.instance.0 -- env",
            "oakctl instance exec -it Rec.instance.0 -- sh",
            "oakctl instance exec -i Rec.instance.0 -- sha256sum < FILE",
        ),
    )(run)
