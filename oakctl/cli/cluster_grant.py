"""`oakctl cluster grant | grants | revoke | join`: clusters that operators share.

Belongs here: the commands, and the access file on the disk. Does not belong here: clusters of
one's own (`cli.cluster`).
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, handing, session, source
from oakctl.cli.carrying_out import Begin, Manner, carry_out
from oakctl.cli.cluster import Name, app
from oakctl.cli.grammar import (
    DEFAULT_TIMEOUT,
    Output,
    SudoPasswordFile,
    Timeout,
    Yes,
    examples,
)
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import UsageError
from oakctl.model import wire
from oakctl.model.requests import GrantRequest
from oakctl.model.roots import AccessFile, RootRules, RootSummary
from oakctl.orchestration.scheduling.admission import in_words
from oakctl.tui.viewmodels import words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

Root = Annotated[str, typer.Argument(help="What the other operator's root is called here.")]


def _status(view: RootSummary, now: float) -> str:
    if view.revoked:
        return "revoked"
    return f"asked {words.age(view.asked_at, now)} ago" if view.asked_at else "let in"


COLUMNS = (
    Column[RootSummary]("Name", lambda view, now: view.name),
    Column[RootSummary]("Status", _status),
    Column[RootSummary]("Instances", lambda view, now: str(view.instances)),
    Column[RootSummary]("Uses", lambda view, now: words.amounts(view.uses)),
    Column[RootSummary]("May", lambda view, now: in_words(view.rules)),
)


@app.command(
    epilog=examples(
        "oakctl cluster grant edge rob --namespace 'prod-*' --cpu-share 0.5",
        "oakctl cluster grant edge rob --image registry.example/rob --memory 2048 -o rob.json",
    )
)
def grant(
    cluster: Name,
    name: Root,
    namespace: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Namespaces of its applications.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Images, with their registry; pushed:* are pushed ones, artifact:* programs.",
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="container, process.")
    ] = None,
    cpu_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Part of the cluster's cores.")
    ] = None,
    memory_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Part of the cluster's memory.")
    ] = None,
    vcpus: Annotated[float | None, typer.Option(min=0, help="Cores at most.")] = None,
    memory: Annotated[int | None, typer.Option(min=0, help="MiB of memory at most.")] = None,
    privileged: Annotated[
        bool, typer.Option("--privileged", help="Privileged containers, too.")
    ] = False,
    host_resources: Annotated[
        bool,
        typer.Option(
            "--host-resources",
            help="Capabilities, devices and paths of hosts, as far as each worker gives them.",
        ),
    ] = False,
    address: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Where he reaches the cluster's host.")
    ] = "",
    file: Annotated[
        Path | None, typer.Option("-o", "--file", help="Where his access file is written.")
    ] = None,
    sudo_password_file: SudoPasswordFile = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Let another operator's root in to a cluster, within bounds; he gets a file and no login.

    Given again, it makes a new key and a new password, and these bounds hold.
    """
    rules = RootRules(
        namespaces=tuple(namespace) if namespace else None,
        images=tuple(image) if image else None,
        runtimes=tuple(runtime) if runtime else None,
        cpu_share=cpu_share,
        memory_share=memory_share,
        vcpus=vcpus,
        memory_mb=memory,
        privileged=privileged,
        grants=host_resources,
    )
    target = file or Path(f"{cluster}-{name}.access.json")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint="-o FILE")

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        host = (await client.cluster(cluster)).host
        return host, lambda: client.grants.grant(cluster, GrantRequest(name, rules, address))

    async def fetch() -> AccessFile:
        async with session.root() as client:
            return await client.grants.fetch(cluster, name)

    manner = Manner(sudo_password_file, True, timeout)
    carry_out(prepare, manner, f"{name} is let in to {cluster}: {in_words(rules)}")
    hint = f"oakctl cluster grant {cluster} {name} -o ELSEWHERE makes a new one"
    handing.write(target, wire.encode(session.run(fetch())) + b"\n", hint=hint)
    diagnostics.say(f"hand {target} to him, as one does with a password; his command is:")
    diagnostics.say(f"oakctl cluster join {shlex.quote(target.name)}")


@app.command(epilog=examples("oakctl cluster grants edge", "oakctl cluster grants edge -o json"))
def grants(cluster: Name, output: Output = Format.TABLE) -> None:
    """List the roots that were let in to a cluster, with what each may do and has."""

    async def main() -> tuple[RootSummary, ...]:
        async with session.root() as client:
            return await client.grants.all(cluster)

    listing(session.run(main()), output, COLUMNS, lambda view: view.name)


@app.command(
    epilog=examples(
        "oakctl cluster revoke edge rob --yes", "oakctl cluster revoke edge rob --keep-running"
    )
)
def revoke(
    cluster: Name,
    name: Root,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="What it runs goes on, and is yours to stop.")
    ] = False,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Throw a root out at once: its account, its key and its sessions end, and what it runs."""
    what = "what it runs goes on" if keep_running else "what it runs is stopped"
    diagnostics.confirm(f"Throw {name} out of cluster {cluster}? Then {what}.", yes=yes)

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        host = (await client.cluster(cluster)).host
        return host, lambda: client.grants.revoke(cluster, name, keep_running=keep_running)

    manner = Manner(sudo_password_file, True, timeout)
    carry_out(prepare, manner, f"{name} is out of {cluster}; {what}")


@app.command(epilog=examples("oakctl cluster join edge-rob.access.json"))
def join(
    file: Annotated[Path, typer.Argument(help="What the cluster's operator has handed you.")],
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Use a cluster of another operator's: your root deploys there, within his bounds."""
    given = _read(file)

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        return "", lambda: client.grants.join(given)

    done = f"cluster {given.cluster} takes your services: {in_words(given.rules)}"
    carry_out(prepare, Manner(None, True, timeout), done)


def _read(file: Path) -> AccessFile:
    try:
        return wire.decode(source.content(file), AccessFile)
    except wire.Malformed as error:
        raise UsageError(
            f"{source.named(file)} is no access file",
            hint="its operator makes one: oakctl cluster grant",
        ) from error
