"""`oakctl chaos`: faults on purpose, what is in force, and its end."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oakctl.chaos import faults
from oakctl.chaos.faults import Fault, Kind
from oakctl.chaos.records import InForce
from oakctl.cli import diagnostics, session
from oakctl.cli.answers import Answers
from oakctl.cli.asking import asked
from oakctl.cli.grammar import Output, SudoPasswordFile, Yes, duration, examples, noun
from oakctl.cli.output import Column, Format, listing
from oakctl.errors import ExitCode, OakError

if TYPE_CHECKING:
    from oakctl.chaos.carrying_out import Chaos, Made, Overview
    from oakctl.chaos.records import Healed
    from oakctl.client.root import RootClient

app = noun("chaos", "Faults on purpose, anywhere in the fleet; each of them undoes itself.")

For = Annotated[
    float | None,
    typer.Option(
        "--for",
        parser=duration,
        metavar="DURATION",
        help="How long it lasts (30s, 2m); its host ends it, whatever becomes of this command.",
        show_default=False,
    ),
]
Node = Annotated[str, typer.Argument(help="A host with a role, or a worker.")]
Cluster = Annotated[str, typer.Argument(help="The cluster.")]

COLUMNS = (
    Column[InForce]("Node", lambda each, now: each.node),
    Column[InForce]("Fault", lambda each, now: each.fault),
    Column[InForce]("Since", lambda each, now: clock(each.since)),
    Column[InForce]("Until", lambda each, now: clock(each.until) if each.until else "healed"),
    Column[InForce]("Left", lambda each, now: _left(each)),
    Column[InForce]("Note", lambda each, now: each.note or "-"),
)


def clock(at: float) -> str:
    """The time of day, here."""
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def _left(each: InForce) -> str:
    return faults.span(round(max(0.0, each.left_s))) if each.until else "-"


@dataclass(frozen=True)
class Manner:
    """How a fault is made, by the options that all of these commands share."""

    yes: bool
    sudo_password_file: Path | None


@app.command("kill-instance", epilog=examples(
    "oakctl chaos kill-instance Pre.instance.0",
    "oakctl chaos kill-instance Pre.instance.0 --for 20s --yes",
))  # fmt: skip
def kill_instance(
    instance: Annotated[str, typer.Argument(help="The instance, like Pre.instance.0.")],
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Kill an instance: all of its processes, or its container. With --for, again and again."""
    _make(lambda: faults.fault(Kind.KILL_INSTANCE, instance, for_s=for_s), yes, sudo_password_file)


@app.command("kill-agent", epilog=examples(
    "oakctl chaos kill-agent edge/w1", "oakctl chaos kill-agent w1 --for 30s --yes"
))  # fmt: skip
def kill_agent(
    worker: Annotated[str, typer.Argument(help="The worker, like w1 or edge/w1.")],
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Kill a worker's agent; its instances go on. With --for it is kept from starting again."""
    _make(lambda: faults.fault(Kind.KILL_AGENT, worker, for_s=for_s), yes, sudo_password_file)


@app.command("kill-orchestrator", epilog=examples(
    "oakctl chaos kill-orchestrator edge", "oakctl chaos kill-orchestrator edge --for 1m --yes"
))  # fmt: skip
def kill_orchestrator(
    cluster: Cluster,
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Kill a cluster's orchestrator. With --for it is kept from starting again."""
    _make(
        lambda: faults.fault(Kind.KILL_ORCHESTRATOR, cluster, for_s=for_s), yes, sudo_password_file
    )


@app.command("kill-bus", epilog=examples(
    "oakctl chaos kill-bus edge", "oakctl chaos kill-bus edge --for 10s --yes"
))  # fmt: skip
def kill_bus(
    cluster: Cluster,
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Kill a cluster's bus. With --for it is kept from starting again."""
    _make(lambda: faults.fault(Kind.KILL_BUS, cluster, for_s=for_s), yes, sudo_password_file)


@app.command("power-cut", epilog=examples(
    "oakctl chaos power-cut edge-w1 --for 1m", "oakctl chaos power-cut pi-3 --yes"
))  # fmt: skip
def power_cut(
    node: Node,
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Cut a node's power: of a lab's host really, of a real machine by a reset without warning.

    A lab's host stays off for --for, or until `chaos heal`. A real machine starts again at once;
    what it had not written to its disk is lost.
    """
    _make(lambda: faults.fault(Kind.POWER_CUT, node, for_s=for_s), yes, sudo_password_file)


@app.command("partition", epilog=examples("oakctl chaos partition edge-w1 edge-w2 --for 1m"))
def partition(
    one: Annotated[str, typer.Argument(metavar="NODE", help="One end.")],
    other: Annotated[str, typer.Argument(metavar="NODE", help="The other end.")],
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Keep two nodes from hearing each other (30 s without --for); a relay between them may help.

    Packets are dropped on both, by the addresses that each of them has.
    """
    _make(
        lambda: faults.fault(Kind.PARTITION, one, peer=other, for_s=for_s), yes, sudo_password_file
    )


@app.command("isolate", epilog=examples("oakctl chaos isolate edge-w1 --for 1m --yes"))
def isolate(
    node: Node,
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Cut a node off from everything but the SSH by which we came (30 s without --for)."""
    _make(lambda: faults.fault(Kind.ISOLATE, node, for_s=for_s), yes, sudo_password_file)


@app.command("slow", epilog=examples(
    "oakctl chaos slow edge-w1 --bandwidth 1mbit --for 2m",
    "oakctl chaos slow edge-w1 --bandwidth 500kbit --delay 100ms --yes",
))  # fmt: skip
def slow(
    node: Node,
    bandwidth: Annotated[
        str, typer.Option(metavar="RATE", help="At most so much, each way: 500kbit, 2mbit.")
    ] = "",
    delay: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="All it sends comes later: 100ms. Its kernel needs netem."
        ),
    ] = "",
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Slow a node's network down (30 s without --for)."""

    def made() -> Fault:
        return faults.fault(
            Kind.SLOW,
            node,
            for_s=for_s,
            bits_per_s=faults.rate(bandwidth) if bandwidth else 0,
            delay_ms=faults.delay_ms(delay) if delay else 0.0,
        )

    _make(made, yes, sudo_password_file)


@app.command("fill-disk", epilog=examples("oakctl chaos fill-disk pi-3 --leave 50MB --for 1m"))
def fill_disk(
    node: Node,
    leave: Annotated[str, typer.Option(metavar="SIZE", help="So much stays free.")] = "50MB",
    for_s: For = None,
    yes: Yes = False,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """Fill the file system that we live on, on a node (30 s without --for)."""
    _make(
        lambda: faults.fault(
            Kind.FILL_DISK, node, for_s=for_s, leave_mb=faults.size_mb(leave)
        ),
        yes,
        sudo_password_file,
    )  # fmt: skip


@app.command("ls", epilog=examples("oakctl chaos ls", "oakctl chaos ls -o json"))
def ls(output: Output = Format.TABLE) -> None:
    """List the faults that are in force, and on which nodes; every node is asked."""

    async def main() -> Overview:
        async with session.root() as client:
            return await chaos(client).overview()

    found = session.run(main())
    listing(found.found, output, COLUMNS, lambda each: f"{each.node} {each.fault}")
    _tell(found.silent)
    if not found.found and not found.silent:
        diagnostics.say("no fault is in force")


@app.command(epilog=examples("oakctl chaos heal", "oakctl chaos heal edge-w1 edge-w2"))
def heal(
    nodes: Annotated[
        list[str] | None, typer.Argument(metavar="[NODE]…", help="Where; without any, everywhere.")
    ] = None,
    sudo_password_file: SudoPasswordFile = None,
) -> None:
    """End every fault that is in force, now. What is not broken stays as it is."""

    async def main() -> tuple[list[Healed], list[OakError]]:
        async with session.root() as client:
            await session.give_password(client, nodes or [], sudo_password_file)
            return await chaos(client).heal(nodes or [])

    done, silent = session.run(main())
    for each in done:
        if each.done:
            diagnostics.say(f"{each.node}: {each.fault} is over")
        else:
            diagnostics.warn(f"{each.node}: {each.fault} does not end; try again")
    _tell(silent)
    if silent or not all(each.done for each in done):
        raise typer.Exit(int(ExitCode.FAILED))
    if not done:
        diagnostics.say("nothing was broken by us")


def chaos(client: RootClient) -> Chaos:
    """Faults by this client; a person at the terminal answers what is missing."""
    from oakctl.chaos.carrying_out import Chaos
    from oakctl.cli.chaos_power import LabPower

    return Chaos(client, LabPower(), Answers(client).settle)


def _make(fault: Callable[[], Fault], yes: bool, sudo_password_file: Path | None) -> None:
    """Look, ask, do it, and say how it ends."""
    wanted = fault()

    async def main() -> Made:
        async with session.root() as client:
            if sudo_password_file is not None:
                known = [host.name for host in await client.hosts() if host.role]
                await session.give_password(client, known, sudo_password_file)
            maker = chaos(client)
            plan = await maker.plan(wanted)
            await asked(diagnostics.confirm, plan.question, yes=yes)
            return await maker.inflict(plan)

    made = session.run(main())
    diagnostics.say(_done(made))


def _done(made: Made) -> str:
    where = " and ".join(made.hosts)
    if made.fault.for_s:
        ends = faults.span(made.fault.for_s)
        return f"{made.fault.title}: in force on {where} for {ends}; sooner: oakctl chaos heal"
    return f"{made.fault.title}: done on {where}"


def _tell(silent: tuple[OakError, ...] | list[OakError]) -> None:
    for error in silent:
        diagnostics.warn(f"not asked: {error.message}")
