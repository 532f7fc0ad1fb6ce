"""`oakctl worker token | tokens`: workers that their machines' owners make, without SSH from here.

Belongs here: the commands, and the join program on the disk. Does not belong here: what is in it
(`remote.join_archive`), the other commands of workers (`cli.worker`).
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from oakctl.cli import diagnostics, handing, session
from oakctl.cli.grammar import Output, Where, examples
from oakctl.cli.output import Column, Format, listing
from oakctl.cli.worker import Cores, Labels, MebiBytes, app, labels_of
from oakctl.errors import UsageError
from oakctl.model.resources import Resources
from oakctl.model.tokens import JoinFile, TokenRequest, TokenSummary
from oakctl.remote import join_archive
from oakctl.tui.viewmodels import words

COLUMNS = (
    Column[TokenSummary]("Token", lambda view, now: view.id),
    Column[TokenSummary]("Worker", lambda view, now: view.worker),
    Column[TokenSummary]("Status", lambda view, now: view.state),
    Column[TokenSummary](
        "Used", lambda view, now: words.age(view.used_at, now) if view.used_at else "-"
    ),
    Column[TokenSummary]("Machine", lambda view, now: view.machine or "-"),
)
Cluster = Annotated[str, typer.Option("--cluster", help="The cluster.")]


@app.command(
    epilog=examples(
        "oakctl worker token --cluster edge",
        "oakctl worker token w7 --cluster edge --vcpus 2 -o for-ann.pyz",
    )
)
def token(
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="What to call it (the next free one).")] = "",
    vcpus: Cores = 0,
    memory: MebiBytes = 0,
    label: Labels = None,
    location: Where = None,
    address: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Where that machine reaches the bus.")
    ] = "",
    file: Annotated[
        Path, typer.Option("-o", "--file", help="Where the program is written.")
    ] = Path("join.pyz"),
) -> None:
    """Make a program that makes a machine a worker, for an owner who gives you no SSH.

    It is good once, for ten minutes. `worker remove` takes it back before that, too.
    """
    if not file.parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", hint="-o FILE")
    request = TokenRequest(
        cluster=cluster,
        name=name,
        contribution=Resources(vcpus=vcpus, memory_mb=memory),
        location=location,
        labels=labels_of(label or []),
        address=address,
    )

    async def main() -> JoinFile:
        async with session.root() as client:
            return await client.tokens.make(request)

    told = session.run(main())
    hint = f"oakctl worker remove {told.cluster}/{told.worker}, then once more with -o"
    handing.write(file, join_archive.build(told), hint=hint)
    diagnostics.say(f"{file} makes one machine worker {cluster}/{told.worker}, within ten minutes")
    diagnostics.say("hand it to the owner, as one does with a password; on that machine he types:")
    diagnostics.say(f"sudo python3 {shlex.quote(file.name)}")


@app.command(
    epilog=examples(
        "oakctl worker tokens --cluster edge", "oakctl worker tokens --cluster edge -o json"
    )
)
def tokens(cluster: Cluster, output: Output = Format.TABLE) -> None:
    """List the tokens of the last day: open, used, late and revoked ones."""

    async def main() -> tuple[TokenSummary, ...]:
        async with session.root() as client:
            return await client.tokens.all(cluster)

    listing(session.run(main()), output, COLUMNS, lambda view: view.id)
