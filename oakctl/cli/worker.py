"""`oakctl worker`: machines that run instances."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.cli import diagnostics, host_python, session
from oakctl.cli.carrying_out import Begin, Manner, carry_out
from oakctl.cli.grammar import (
    DEFAULT_TIMEOUT,
    AcceptNew,
    AllowReboot,
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
from oakctl.errors import NotFound, UsageError
from oakctl.model.node import ContainerFacts, NodeFacts
from oakctl.model.requests import WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.views import WorkerView
from oakctl.tui.viewmodels import status, words

if TYPE_CHECKING:
    from oakctl.client.root import RootClient

app = noun("worker", "Workers: machines that run instances.")

# What no machine has: beyond it a number is a slip of the hand, and `inf` is none.
MOST_CORES = 100_000
MOST_MIB = 1 << 40

Name = Annotated[str, typer.Argument(help="The worker: NAME or CLUSTER/NAME.")]
Cluster = Annotated[str | None, typer.Option("--cluster", help="Its cluster.")]
Cores = Annotated[float, typer.Option(min=0, max=MOST_CORES, help="Cores to contribute (0: all).")]
MebiBytes = Annotated[int, typer.Option(min=0, max=MOST_MIB, help="MiB to contribute (0: all).")]
Labels = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; repeatable.")]
Gpus = Annotated[int, typer.Option(min=0, max=MOST_CORES, help="GPUs to contribute (0: none).")]


def _facts(view: WorkerView) -> NodeFacts | None:
    return view.summary.facts if view.summary else None


def _capacity(view: WorkerView, now: float) -> str:
    facts = _facts(view)
    if view.summary is None or facts is None:
        return "-"
    return words.used_of(view.summary.reserved, facts.capacity, facts.declared)


def _seen(view: WorkerView, now: float) -> str:
    return words.age(view.summary.last_heartbeat, now) if view.summary else "never"


def _fact(view: WorkerView, field: str) -> str:
    facts = _facts(view)
    return str(getattr(facts, field)) if facts else "-"


COLUMNS = (
    Column[WorkerView]("Name", lambda view, now: view.name),
    Column[WorkerView]("Cluster", lambda view, now: view.cluster),
    Column[WorkerView]("Status", lambda view, now: status.of_worker(view).word),
    Column[WorkerView]("Host", lambda view, now: words.host(view.host)),
    Column[WorkerView]("Instances", lambda view, now: str(view.instances)),
    Column[WorkerView]("Reserved", _capacity),
    Column[WorkerView]("Seen", _seen),
    Column[WorkerView]("Arch", lambda view, now: _fact(view, "architecture"), wide=True),
    Column[WorkerView]("Subnet", lambda v, now: v.summary.subnet if v.summary else "-", wide=True),
    Column[WorkerView]("System", lambda view, now: _fact(view, "system"), wide=True),
)


class OverlayKind(str, Enum):
    """What `--overlay` takes."""

    KERNEL = "kernel"
    HOST = "host"


@app.command(
    epilog=examples(
        "oakctl worker add w1 --cluster edge --on pi-2",
        "oakctl worker add w2 --cluster edge --on jetson-1 --vcpus 4 --memory 4096 --vgpus 1",
        "oakctl worker add w3 --cluster edge --on vm-1 --relay --endpoint 203.0.113.5:51820",
    )
)
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    cluster: Annotated[str, typer.Option("--cluster", help="The cluster it joins.")],
    on: Annotated[str, typer.Option("--on", metavar="HOST", help="The host it is.")],
    vcpus: Cores = 0,
    memory: MebiBytes = 0,
    storage: Annotated[int, typer.Option(min=0, max=MOST_MIB, help="MiB of disk (0: all).")] = 0,
    vgpus: Gpus = 0,
    vtpus: Annotated[
        int, typer.Option(min=0, max=MOST_CORES, help="TPUs to contribute (0: none).")
    ] = 0,
    declared: Annotated[
        list[str] | None,
        typer.Option(help="A contributed resource that is not really there, for trying things."),
    ] = None,
    label: Labels = None,
    location: Where = None,
    docker: Annotated[
        bool,
        typer.Option("--docker", help="Install the distribution's Docker where there is none."),
    ] = False,
    overlay: Annotated[
        OverlayKind | None,
        typer.Option(
            help="kernel: refuse a host that cannot have it; host: none. Without: what it can."
        ),
    ] = None,
    endpoint: Annotated[
        str,
        typer.Option(
            metavar="[ADDRESS]:PORT",
            help="Where other nodes reach its tunnel (UDP), also through a router of its own.",
        ),
    ] = "",
    relay: Annotated[
        bool,
        typer.Option("--relay", help="Others may send by way of it, wherever the orchestrator is."),
    ] = False,
    allow_reboot: AllowReboot = False,
    accept_new: AcceptNew = False,
    sudo_password_file: SudoPasswordFile = None,
    python_archive: PythonArchives = None,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Make a host a worker of a cluster; carries on what was interrupted."""
    contribution = Resources(
        vcpus=vcpus, memory_mb=memory, storage_mb=storage, vgpus=vgpus, vtpus=vtpus
    )
    host_python.given(python_archive)
    request = WorkerAdd(
        name=name,
        cluster=cluster,
        host=on,
        contribution=contribution,
        declared=tuple(declared or ()),
        location=location,
        labels=labels_of(label or []),
        docker=docker,
        overlay=overlay.value if overlay else "",
        endpoint=endpoint,
        relay=relay,
        allow_reboot=allow_reboot,
        accept_new=accept_new,
    )

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        return on, lambda: client.add_worker(request)

    manner = Manner(sudo_password_file, wait, timeout)
    carry_out(prepare, manner, f"worker {cluster}/{name} is ready")


@app.command("ls", epilog=examples("oakctl worker ls", "oakctl worker ls --cluster edge -o wide"))
def ls(cluster: Cluster = None, output: Output = Format.TABLE) -> None:
    """List the workers of one cluster, or of all."""

    async def main() -> tuple[WorkerView, ...]:
        async with session.root() as client:
            return await client.workers(cluster)

    listing(session.run(main()), output, COLUMNS, lambda view: f"{view.cluster}/{view.name}")


@app.command(epilog=examples("oakctl worker show edge/w1", "oakctl worker show w1 -o json"))
def show(name: Name, cluster: Cluster = None, output: Output = Format.TABLE) -> None:
    """Show one worker."""

    async def main() -> WorkerView:
        async with session.root() as client:
            return await client.worker(*await _resolved(client, name, cluster))

    view = session.run(main())
    record(view, output, _fields(view), f"{view.cluster}/{view.name}")


@app.command(epilog=examples("oakctl worker cordon edge/w1"))
def cordon(name: Name, cluster: Cluster = None) -> None:
    """Give a worker no new instances; those it has go on."""
    diagnostics.say(f"worker {_set_cordon(name, cluster, cordoned=True)} takes nothing new")


@app.command(epilog=examples("oakctl worker uncordon edge/w1"))
def uncordon(name: Name, cluster: Cluster = None) -> None:
    """Let a worker take new instances again."""
    diagnostics.say(f"worker {_set_cordon(name, cluster, cordoned=False)} takes instances again")


@app.command(epilog=examples("oakctl worker drain edge/w1"))
def drain(name: Name, cluster: Cluster = None) -> None:
    """Give a worker nothing new, and move its instances elsewhere; `uncordon` ends that."""

    async def main() -> WorkerView:
        async with session.root() as client:
            return await client.drain(*await _resolved(client, name, cluster))

    view = session.run(main())
    diagnostics.say(f"worker {view.cluster}/{view.name}: its instances move elsewhere")


@app.command(
    epilog=examples(
        "oakctl worker remove edge/w1 --yes", "oakctl worker remove edge/w1 --force --yes"
    )
)
def remove(
    name: Name,
    cluster: Cluster = None,
    force: Force = False,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
    wait: Wait = True,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Move a worker's instances elsewhere and take everything of ours from its host.

    With --force it is forgotten, and its host is not touched.
    """
    question = f"Remove worker {name} and everything of it on its host?"
    if force:
        question = f"Forget worker {name}, whatever still runs on its host?"
    diagnostics.confirm(question, yes=yes)

    async def prepare(client: RootClient) -> tuple[str, Begin]:
        where = await _resolved(client, name, cluster)
        host = (await client.worker(*where)).host
        return host, lambda: client.remove_worker(*where, force=force)

    carry_out(prepare, Manner(sudo_password_file, wait, timeout), f"worker {name} is removed")


def _set_cordon(name: str, cluster: str | None, *, cordoned: bool) -> str:
    async def main() -> WorkerView:
        async with session.root() as client:
            where = await _resolved(client, name, cluster)
            return await client.cordon(*where, cordoned)

    view = session.run(main())
    return f"{view.cluster}/{view.name}"


async def _resolved(client: RootClient, name: str, cluster: str | None) -> tuple[str, str]:
    """(cluster, worker) of NAME, CLUSTER/NAME or NAME with its cluster."""
    given, _, own = name.rpartition("/")
    if given and cluster and given != cluster:
        raise UsageError(f"{name} is not in cluster {cluster}", hint=f"oakctl worker show {name}")
    if given or cluster:
        return given or str(cluster), own
    found = [view.cluster for view in await client.workers() if view.name == own]
    if not found:
        raise NotFound(f"there is no worker {own}", hint="oakctl worker ls")
    if len(found) > 1:
        choices = ", ".join(f"{each}/{own}" for each in found)
        raise UsageError(f"there is more than one worker {own}", hint=f"one of {choices}")
    return found[0], own


def labels_of(pairs: list[str]) -> dict[str, str]:
    """KEY=VALUE, each; raises BadParameter."""
    labels = {}
    for pair in pairs:
        key, marker, value = pair.partition("=")
        if not key or not marker:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE")
        labels[key] = value
    return labels


def _containers(facts: ContainerFacts) -> str:
    if not facts.engine:
        return f"none: {facts.reason}" if facts.reason else "none"
    granted = [name for name, value in vars(facts.grants).items() if value]
    parts = [facts.engine, facts.platform]
    parts += [f"GPUs by {facts.gpus}"] if facts.gpus else []
    return ", ".join((*parts, f"granted: {', '.join(granted) or 'nothing'}"))


def _fields(view: WorkerView) -> list[tuple[str, str]]:
    fields = [
        ("name", view.name),
        ("cluster", view.cluster),
        ("host", words.host(view.host)),
        ("status", status.of_worker(view).word),
        ("instances", str(view.instances)),
    ]
    summary = view.summary
    if summary is None:
        return fields
    usage = summary.usage
    fields += [
        ("subnet", summary.subnet or "-"),
        ("reserved", words.amounts(summary.reserved)),
        ("in use", f"cpu {usage.cpu_percent:.0f}%, memory {usage.memory_percent:.0f}%"),
        ("agent", f"{usage.agent_rss_mb:.0f} MiB, {usage.agent_cpu_percent:.1f}% of a core"),
    ]
    facts = summary.facts
    if facts is not None:
        fields += [
            ("capacity", words.amounts(facts.capacity)),
            ("declared", ", ".join(facts.declared) or "-"),
            ("architecture", facts.architecture),
            ("system", facts.system),
            ("python", facts.python),
            ("runtimes", ", ".join(facts.runtimes)),
            ("containers", _containers(facts.containers)),
            ("location", words.place(facts.location)),
            ("address", facts.address or "-"),
            ("overlay", ": ".join(filter(None, (facts.overlay_driver, facts.overlay_reason)))),
            ("limits", "enforced" if facts.limits_enforced else f"not: {facts.limits_reason}"),
        ]
    return fields
