"""`oakctl web`: the terminal app in a browser.

Does not belong here: serving it, and who is let in (`oakctl.tui.web`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from oakctl.cli import output, session
from oakctl.cli.diagnostics import say
from oakctl.errors import UsageError


def web(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. Others need --certificate.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65535, help="0: any that is free.")
    ] = 8040,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="With what changes the fleet, too.")
    ] = False,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, help="Browser tabs at a time; each is a process.")
    ] = 4,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="A host name by which browsers come here. Repeatable."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="PEM file: TLS instead of plain HTTP.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its key, a PEM file.")] = None,
) -> None:
    """Show the terminal app in a browser, until Ctrl-C.

    Whoever has the printed address is let in: there is a token in it, new with each start.
    """
    from oakctl.tui.web.server import Served, serving

    if key is not None and certificate is None:
        raise UsageError("--key is there without --certificate", hint="oakctl web --help")
    served = Served(
        host,
        port,
        read_only=not allow_changes,
        sessions=sessions,
        names=tuple(name or ()),
        certificate=certificate,
        key=key,
    )

    async def main() -> None:
        async with serving(served) as address:
            output.line(address)
            say(
                "changes are allowed" if allow_changes else "read-only; --allow-changes is the rest"
            )
            say("Ctrl-C ends it")
            await asyncio.Event().wait()

    session.run(main())
