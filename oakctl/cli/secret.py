"""`oakctl secret`: what instances are given and nobody is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from oakctl.cli import diagnostics, session, source
from oakctl.cli.grammar import Output, Yes, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import UsageError
from oakctl.model.views import SecretView
from oakctl.tui.viewmodels import words

app = noun("secret", "Secrets: given to the instances that need them, shown to nobody.")

Name = Annotated[str, typer.Argument(help="The secret's name.")]

COLUMNS = (
    Column[SecretView]("Name", lambda view, now: view.name),
    Column[SecretView]("Kind", lambda view, now: _kind(view)),
    Column[SecretView]("Changed", lambda view, now: words.age(view.changed_at, now)),
    Column[SecretView]("Services", lambda view, now: ", ".join(view.services) or "-"),
)


def _kind(view: SecretView) -> str:
    return f"{view.username} at {view.registry}" if view.registry else view.kind


@app.command(
    "set",
    epilog=examples(
        "oakctl secret set db-password                          it is asked for, unseen",
        "oakctl secret set db-password <password.txt",
        "oakctl secret set tls.key --from-file ./tls.key",
        "oakctl secret set hub --registry ghcr.io --username me <token.txt",
    ),
)
def put(
    name: Name,
    from_file: Annotated[
        Path | None,
        typer.Option("--from-file", metavar="FILE", help="All that is in it, byte by byte."),
    ] = None,
    registry: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="It is the login for images of this host (docker.io: Docker Hub)."
        ),
    ] = "",
    username: Annotated[str, typer.Option(metavar="USER", help="Of the login.")] = "",
) -> None:
    """Give a secret its value: from a file, from standard input, or typed unseen.

    From standard input one line end at its end is not part of it. Instances that run go on with
    the value they were started with; each takes the new one when it is started the next time.
    """
    content = _value(name, from_file)

    async def main() -> SecretView:
        async with session.root() as client:
            return await client.secrets.put(name, content, registry, username)

    view = session.run(main())
    diagnostics.say(f"secret {name} is set")
    if view.services and not view.registry:
        diagnostics.say(
            f"{', '.join(view.services)}: what runs keeps the value it has until it is started "
            "anew (oakctl service restart NAME)"
        )


@app.command("ls", epilog=examples("oakctl secret ls", "oakctl secret ls -o json"))
def ls(output: Output = Format.TABLE) -> None:
    """List the secrets: names, when each was changed, who is given it; never a value."""

    async def main() -> Sequence[SecretView]:
        async with session.root() as client:
            return await client.secrets.all()

    listing(session.run(main()), output, COLUMNS, lambda view: view.name)


@app.command(
    epilog=examples(
        "oakctl secret remove db-password", "oakctl secret remove db-password --force --yes"
    )
)
def remove(
    name: Name,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also while services are given it: none of them can start then."
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Forget a secret; refused while a service is given it."""
    diagnostics.confirm(f"Forget secret {name}?", yes=yes)

    async def main() -> SecretView:
        async with session.root() as client:
            return await client.secrets.remove(name, force=force)

    view = session.run(main())
    diagnostics.say(f"secret {name} is forgotten")
    for service in view.services:
        diagnostics.say(f"{service} cannot be started without it")


def _value(name: str, file: Path | None) -> bytes:
    """What was given; raises NotFound for no file, UsageError for nothing in it."""
    if file is not None:
        content = source.content(file, missing=f"ls -l {file}")
    elif diagnostics.can_prompt():
        content = diagnostics.ask_secret(name).encode()
    else:
        content = source.content(source.STDIN).removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise UsageError(
            f"secret {name}: nothing was given as its value",
            hint=f"oakctl secret set {name} --from-file FILE, or give it on standard input",
        )
    return content
