"""`oakctl cluster`: orchestrators and what they are told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import cluster_link, diagnostics, host_python, session
from oakctl.cli.carrying_out import Begin, Manner, carry_out
from oakctl.cli.grammar import (
    DEFAULT_TIMEOUT,
    AcceptNew,
    Force,
    Output,
    PythonArchives,
    SudoPasswordFile,
    Timeout,
    Wait,
    Where,
    Yes,
    examples,
    noun,
)
from oakctl.cli.output import Column, Format, listing, record
from oakctl.model.requests import ClusterChange, ClusterCreate
from oakctl.model.resources import Resources
from oakctl.model.views import ClusterView
from oakctl.tui.viewmodels import words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

app = noun("cluster", "Clusters: an orchestrator and its workers.")

Name = Annotated[str, typer.Argument(help="The cluster.")]


def _free(view: ClusterView, now: float) -> str:
    return words.amounts(view.aggregate.free if view.aggregate else Resources())


COLUMNS = (
    Column[ClusterView]("Name", lambda view, now: view.name),
    Column[ClusterView]("Status", lambda view, now: view.status),
    Column[ClusterView]("Host", lambda view, now: view.host),
    Column[ClusterView]("Policy", lambda view, now: view.policy),
    Column[ClusterView]("Workers", lambda view, now: f"{view.workers_ready}/{view.workers_total}"),
    Column[ClusterView]("Instances", lambda view, now: str(view.instances)),
    Column[ClusterView]("Free", _free),
    Column[ClusterView]("Seen", lambda view, now: words.age(view.last_seen, now)),
    Column[ClusterView]("Location", lambda view, now: words.place(view.location), wide=True),
    Column[ClusterView]("Subnets", lambda view, now: view.node_subnets, wide=True),
    Column[ClusterView]("Links", cluster_link.column, wide=True),
    Column[ClusterView]("Reason", lambda view, now: view.status_reason, wide=True),
)


@app.command(
    epilog=examples(
        "oakctl cluster create edge --on pi-1",
        "oakctl cluster create edge --on pi-1 --policy spread --location 48.26,11.67 --accept-new",
    )
)
def create(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    on: Annotated[str, typer.Option("--on", metavar="HOST", help="Host of its orchestrator.")],
    policy: Annotated[str, typer.Option(help="Scheduling policy.")] = "rom",
    location: Where = None,
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    python_archive: PythonArchives = None,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Make a host the orchestrator of a new cluster; carries on what was interrupted."""
    host_python.given(python_archive)

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        request = ClusterCreate(name, on, policy, location, accept_new=accept_new)
        return on, lambda: client.create_cluster(request)

    manner = Manner(sudo_password_file, wait, timeout)
    carry_out(prepare, manner, f"cluster {name} is ready")


@app.command("ls", epilog=examples("oakctl cluster ls", "oakctl cluster ls -o json"))
def ls(output: Output = Format.TABLE) -> None:
    """List the clusters."""

    async def main() -> tuple[ClusterView, ...]:
        async with session.root() as client:
            return await client.clusters()

    listing(session.run(main()), output, COLUMNS, lambda view: view.name)


@app.command(epilog=examples("oakctl cluster show edge", "oakctl cluster show edge -o yaml"))
def show(name: Name, output: Output = Format.TABLE) -> None:
    """Show one cluster."""

    async def main() -> ClusterView:
        async with session.root() as client:
            return await client.cluster(name)

    view = session.run(main())
    fields = [
        ("name", view.name),
        ("status", view.status),
        ("reason", view.status_reason or "-"),
        ("host", view.host),
        ("policy", view.policy),
        ("location", words.place(view.location)),
        ("workers", f"{view.workers_ready} of {view.workers_total} ready"),
        ("instances", str(view.instances)),
        ("node subnets", view.node_subnets or "-"),
    ]
    fields += cluster_link.fields(view, time.time())
    if view.aggregate is not None:
        fields.append(("capacity", words.amounts(view.aggregate.capacity)))
        fields.append(("free", words.amounts(view.aggregate.free)))
    for process, use in sorted(view.processes.items()):
        fields.append((process, f"{use.rss_mb:.0f} MiB, {use.cpu_percent:.1f}% of a core"))
    record(view, output, fields, view.name)


@app.command("set-policy", epilog=examples("oakctl cluster set-policy edge spread"))
def set_policy(
    name: Name, policy: Annotated[str, typer.Argument(help="Scheduling policy (rom, spread).")]
) -> None:
    """Change how a cluster chooses among its workers, from the next instance on."""

    async def main() -> None:
        async with session.root() as client:
            await client.change_cluster(name, ClusterChange(policy=policy))

    session.run(main())
    diagnostics.say(f"cluster {name} schedules by {policy}")


@app.command(
    epilog=examples("oakctl cluster remove edge --yes", "oakctl cluster remove edge --force --yes")
)
def remove(
    name: Name,
    force: Force = False,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Take a cluster apart; its host is left as it was. Refused while it has workers.

    With --force it is forgotten with its workers, and no host is touched.
    """
    question = f"Remove cluster {name} and everything of it on its host?"
    if force:
        question = f"Forget cluster {name} and its workers, whatever still runs on their hosts?"
    diagnostics.confirm(question, yes=yes)

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        host = (await client.cluster(name)).host
        return host, lambda: client.remove_cluster(name, force=force)

    carry_out(prepare, Manner(sudo_password_file, wait, timeout), f"cluster {name} is removed")
