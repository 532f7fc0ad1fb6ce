"""`oakctl overlay`: how service addresses are reached, and what is in the way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, TypeVar

import typer

from oakctl.cli import diagnostics, output, session
from oakctl.cli.grammar import Output, examples, noun
from oakctl.cli.output import Column, Format
from oakctl.errors import NotFound
from oakctl.model.overlay_asking import Probe
from oakctl.model.overlay_views import (
    AddressView,
    ClusterOverlayView,
    NodeOverlayView,
    OverlayView,
    PairView,
    RouteView,
    TableView,
    TestedView,
    TraceView,
    Trouble,
)
from oakctl.tui.viewmodels import overlay as overlay_words
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.words import clean

T = TypeVar("T")

app = noun("overlay", "The overlay: service addresses, paths between nodes, what is in the way.")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[CLUSTER|NODE]...", help="Only of these.")
]
Node = Annotated[str, typer.Argument(help="A node: NAME or CLUSTER/NAME.")]
From = Annotated[str, typer.Option("--from", metavar="NODE", help="The node that it is seen from.")]
Froms = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="NODE", help="Only from this node; repeatable."),
]
Service = Annotated[str, typer.Argument(help="The service, short where that is unique.")]


def _full(view: NodeOverlayView) -> str:
    return f"{view.cluster}/{view.name}"


NODES = (
    Column[NodeOverlayView]("Node", lambda view, now: _full(view)),
    Column[NodeOverlayView]("Mode", lambda view, now: view.mode or "-"),
    Column[NodeOverlayView]("Agent", lambda view, now: view.status),
    Column[NodeOverlayView]("Tables", lambda view, now: overlay_words.tables(view)),
    Column[NodeOverlayView](
        "Tables age", lambda view, now: words.age(view.tables_at, now) if view.tables_at else "-"
    ),
    Column[NodeOverlayView]("Told", lambda view, now: words.age(view.heard_at, now)),
    Column[NodeOverlayView]("Tunnel", lambda view, now: view.carrier or "-", wide=True),
    Column[NodeOverlayView]("Subnet", lambda view, now: view.subnet or "-", wide=True),
    Column[NodeOverlayView]("Reason", lambda view, now: view.reason or "-"),
)
PAIRS = (
    Column[PairView]("From", lambda view, now: view.a),
    Column[PairView]("To", lambda view, now: view.b),
    Column[PairView]("Path", lambda view, now: overlay_words.path(view)),
    Column[PairView](
        "Round-trip", lambda view, now: overlay_words.milliseconds(view.round_trip_ms)
    ),
    Column[PairView]("Endpoint", lambda view, now: view.endpoint or "-", wide=True),
    Column[PairView](
        "Since", lambda view, now: words.age(view.since, now) if view.since else "-", wide=True
    ),
    Column[PairView](
        "Services",
        lambda view, now: ", ".join(words.short_job(each) for each in view.services) or "-",
        wide=True,
    ),
    Column[PairView]("Reason", lambda view, now: overlay_words.why(view)),
)
ADDRESSES = (
    Column[AddressView]("Service", lambda view, now: view.job_name),
    Column[AddressView]("Policy", lambda view, now: overlay_words.policy(view.policy)),
    Column[AddressView]("Address", lambda view, now: view.address),
    Column[AddressView]("Instances", lambda view, now: overlay_words.leads_to(view)),
)
_NodeTable = tuple[str, TableView]
TABLES = (
    Column[_NodeTable]("Node", lambda each, now: each[0]),
    Column[_NodeTable]("Table of", lambda each, now: each[1].job_name),
    Column[_NodeTable]("In", lambda each, now: each[1].cluster),
    Column[_NodeTable](
        "Generation",
        lambda each, now: str(each[1].generation) if each[1].generation >= 0 else "none",
    ),
    Column[_NodeTable]("State", lambda each, now: "late" if each[1].late else "newest"),
)
PROBLEMS = (
    Column[Trouble]("Where", lambda each, now: each.where),
    Column[Trouble]("Problem", lambda each, now: each.words),
    Column[Trouble]("What to do", lambda each, now: each.hint or "-"),
)


@app.command(
    epilog=examples(
        "oakctl overlay status",
        "oakctl overlay status edge -o wide",
        "oakctl overlay status edge/w1 -o json",
    )
)
def status(names: Names = None, form: Output = Format.TABLE) -> None:
    """Show what each node's overlay can do, the path of each pair, tables, and what is wrong.

    With -o wide addresses and each node's tables, too. A cluster that does not answer is shown as
    it was heard last, with the age of that.
    """

    async def main() -> OverlayView:
        async with session.root() as client:
            return await client.overlay.view()

    view = only(session.run(main()), names or [])
    if form in (Format.JSON, Format.YAML):
        output.record(view, form, (), "")
    elif form is Format.NAME:
        for node in view.nodes:
            output.line(_full(node))
    else:
        _status(view, form)


def _status(view: OverlayView, form: Format) -> None:
    _section("", view.nodes, NODES, form)
    _section("Paths", view.pairs, PAIRS, form)
    if form is Format.WIDE:
        tables = [(_full(node), table) for node in view.nodes for table in node.tables]
        _section("Addresses", view.addresses, ADDRESSES, form)
        _section("Tables", tables, TABLES, form)
    _section("Problems", view.troubles, PROBLEMS, form)
    for cluster in view.clusters:
        if cluster.fault:
            diagnostics.warn(_old(cluster))


def _section(title: str, rows: Sequence[T], columns: Sequence[Column[T]], form: Format) -> None:
    if rows and title:
        output.line(f"\n{title}")
    output.table(rows, [each for each in columns if form is Format.WIDE or not each.wide])


def _old(cluster: ClusterOverlayView) -> str:
    if not cluster.heard_at:
        return f"cluster {cluster.name}: {cluster.fault}"
    age = words.age(cluster.heard_at, time.time())
    return f"cluster {cluster.name} as it was {age} ago: {cluster.fault}"


def only(view: OverlayView, names: Iterable[str]) -> OverlayView:
    """What is of these clusters and nodes; all without any. Raises NotFound for another name."""
    wanted = set(names)
    if not wanted:
        return view
    clusters = {cluster.name for cluster in view.clusters}
    nodes = {_full(node) for node in view.nodes}
    short = {node.name for node in view.nodes}
    for name in wanted - clusters - nodes - short:
        raise NotFound(f"there is no cluster or node {name}", hint="oakctl overlay status")

    def named(full: str) -> bool:
        cluster, _, node = full.partition("/")
        return bool(wanted & {cluster, node, full})

    kept = {_full(node) for node in view.nodes if named(_full(node))}
    return replace(
        view,
        clusters=tuple(each for each in view.clusters if named(each.name) or _has(each, kept)),
        nodes=tuple(node for node in view.nodes if _full(node) in kept),
        pairs=tuple(pair for pair in view.pairs if kept & {pair.a, pair.b}),
        troubles=tuple(
            each for each in view.troubles if any(named(part) for part in each.where.split(" → "))
        ),
    )


def _has(cluster: ClusterOverlayView, nodes: Iterable[str]) -> bool:
    return any(node.partition("/")[0] == cluster.name for node in nodes)


@app.command(
    epilog=examples(
        "oakctl overlay trace Rec --from edge/w1", "oakctl overlay trace Rec --from w1 -o json"
    )
)
def trace(service: Service, node: From, form: Output = Format.TABLE) -> None:
    """Follow a service's addresses as one node does, which is asked now.

    Which instances its tables list and it can reach, which one each address leads to and why, and
    by which path. Ends 1 where nothing is reached.
    """

    async def main() -> TraceView:
        async with session.root() as client:
            return await client.overlay.trace(service, node)

    view = session.run(main())
    _write(view, form, view.job_name, overlay_words.trace_lines(view, time.time()))
    if not any(choice.instances for choice in view.choices):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "oakctl overlay path edge/w1 cloud/w1", "oakctl overlay path edge/w1 edge/w2 -o json"
    )
)
def path(
    a: Node,
    b: Annotated[str, typer.Argument(help="Another one.")],
    form: Output = Format.TABLE,
) -> None:
    """Show the way between two nodes, hop by hop, with round-trips and what is wrong with it.

    Ends 1 where nothing gets there.
    """

    async def main() -> RouteView:
        async with session.root() as client:
            return await client.overlay.route(a, b)

    view = session.run(main())
    _write(view, form, f"{view.a} {view.b}", overlay_words.route_lines(view))
    if view.kind == "none":
        raise typer.Exit(1)


@app.command(
    "test", epilog=examples("oakctl overlay test", "oakctl overlay test --from edge/w1 -o json")
)
def try_out(node: Froms = None, form: Output = Format.TABLE) -> None:
    """Try from inside the nodes what should be reached: other nodes, instances, addresses.

    Pings, small and as large as packets get, connections by TCP, and one empty packet by UDP to
    each port that a descriptor names. Nothing is changed. Ends 1 where something fails.
    """

    async def main() -> TestedView:
        async with session.root() as client:
            diagnostics.say("asking the nodes, which takes some seconds")
            return await client.overlay.test(node or [])

    view = session.run(main())
    names = "\n".join(_failed(one.node, probe) for one in view.nodes for probe in one.probes)
    _write(view, form, names, overlay_words.tested_lines(view))
    if any(one.failed for one in view.nodes):
        raise typer.Exit(1)


def _failed(node: str, probe: Probe) -> str:
    at = f"{probe.address}:{probe.port}" if probe.port else probe.address
    return f"{node} {probe.kind} {at} {probe.outcome}"


def _write(view: object, form: Format, name: str, lines: Iterable[str]) -> None:
    if form in (Format.TABLE, Format.WIDE):
        for each in lines:
            output.line(clean(each).rstrip())
    else:
        output.record(view, form, (), name)
