"""The overlay of the whole fleet, of what clusters have told. Pure.

Belongs here: modes, tables with their lateness, pairs that carry traffic, and what is wrong. Does
not belong here: one service or one pair in full (`overlay_trace`, `overlay_route`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from oakctl.model.documents import ServiceTable
from oakctl.model.overlay_asking import NodeKnown
from oakctl.model.overlay_report import HOST, LOCAL, LOOPBACK, NONE
from oakctl.model.overlay_views import (
    AddressView,
    ClusterOverlayView,
    NodeOverlayView,
    OverlayView,
    PairView,
    TableView,
    TargetView,
    Trouble,
)
from oakctl.orchestration.root import overlay_known, overlay_silence, overlay_troubles
from oakctl.orchestration.root.overlay_known import Fleet, Known, TableKey, full
from oakctl.orchestration.root.overlay_troubles import FAULT, NOTE
from oakctl.overlay.sight import addresses_of

UNKNOWN = "unknown"
NO_OVERLAY = "there is no overlay on that node"
MUCH_LOST = 0.1  # of echoes, and of at least so many:
ENOUGH_SENT = 40
AHEAD_S, BEHIND_S = 5.0, 60.0  # of a node's clock

Hosts = Mapping[tuple[str, str], str]  # cluster, worker → the host that it is


def view(fleet: Fleet, hosts: Hosts, now: float) -> OverlayView:
    """All of it."""
    newest = fleet.newest()
    nodes = tuple(_node(known, node, newest) for known, node in fleet.nodes())
    pairs = tuple(_pairs(fleet))
    addresses = tuple(_addresses(newest.values()))
    clusters = tuple(
        ClusterOverlayView(name, known.heard_at, known.fault)
        for name, known in sorted(fleet.clusters.items())
    )
    troubles = (
        *_of_clusters(fleet, now),
        *_of_silence(fleet),
        *(each for node in nodes for each in _of_node(node, hosts)),
        *(each for known, node in fleet.nodes() for each in _of_clock(known, node, hosts)),
        *(each for pair in pairs for each in _of_pair(pair)),
        *_of_addresses(addresses),
    )
    in_order = sorted(troubles, key=lambda each: each.severity == NOTE)
    return OverlayView(now, clusters, nodes, pairs, addresses, tuple(in_order))


def _node(
    known: Known, node: NodeKnown, newest: Mapping[TableKey, ServiceTable]
) -> NodeOverlayView:
    report = node.report
    tables = tuple(_table(known, node, key, newest) for key in node.needs)
    return NodeOverlayView(
        name=node.worker,
        cluster=known.cluster,
        status=node.status,
        driver=overlay_known.driver_of(node),
        mode=overlay_known.mode_of(node),
        reason=overlay_known.reason_of(node),
        subnet=node.subnet,
        carrier=report.carrier if report is not None else "",
        heard_at=report.sent_at if report is not None else 0.0,
        tables_at=report.tables_at if report is not None else 0.0,
        late=is_behind(node) or any(table.late for table in tables),
        tables=tables,
        problems=report.problems if report is not None else (),
    )


def is_behind(node: NodeKnown) -> bool:
    """Whether the node has not all of the tables that its cluster has for it.

    Its heartbeat tells each second; what it tells of its overlay comes less often.
    """
    return node.has_revision < node.tables_revision


def _table(
    known: Known, node: NodeKnown, key: TableKey, newest: Mapping[TableKey, ServiceTable]
) -> TableView:
    here = known.table(key)
    there = newest[key].generation if key in newest else -1
    generation = here.generation if here is not None else -1
    if is_behind(node):
        told = node.report.tables if node.report is not None else ()
        generation = next(
            (each.generation for each in told if (each.job_name, each.cluster) == key), -1
        )
    return TableView(*key, generation, there, generation < there)


def _pairs(fleet: Fleet) -> Iterator[PairView]:
    """From each node to those that have instances of services that it talks to."""
    for known, node in fleet.nodes():
        services: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key in node.needs:
            table = known.table(key)
            for target in table.targets if table is not None else ():
                if (target.cluster, target.worker) != (known.cluster, node.worker):
                    services[target.cluster, target.worker].add(key[0])
        for cluster, worker in sorted(services):
            yield pair(known, node, cluster, worker, tuple(sorted(services[cluster, worker])))


def pair(
    known: Known, node: NodeKnown, cluster: str, worker: str, services: tuple[str, ...] = ()
) -> PairView:
    """The way from a node to another, as the node tells it."""
    a, b = full(known, node), f"{cluster}/{worker}"
    told = overlay_known.way(node, cluster, worker)
    if told is None:
        kind, reason = _untold(node)
        return PairView(a, b, kind, reason, services=services)
    return PairView(
        a,
        b,
        told.kind,
        told.reason,
        told.round_trip_ms,
        told.endpoint,
        told.relay,
        told.lost / told.sent if told.sent >= ENOUGH_SENT else None,
        told.since,
        services,
    )


def _untold(node: NodeKnown) -> tuple[str, str]:
    driver = overlay_known.driver_of(node)
    if driver == LOOPBACK:
        return LOCAL, "both are on one machine"
    if driver == HOST:
        return NONE, NO_OVERLAY
    if node.report is None:
        return UNKNOWN, "the node has not told of its overlay yet"
    return UNKNOWN, "the node does not name it among those it knows"


def _addresses(tables: Iterable[ServiceTable]) -> Iterator[AddressView]:
    by_job: dict[str, list[ServiceTable]] = defaultdict(list)
    for table in tables:
        by_job[table.job_name].append(table)
    for job in sorted(by_job):
        parts = sorted(by_job[job], key=lambda each: each.cluster)
        given: dict[str, str] = {}
        for part in parts:
            given = {**addresses_of(part.addresses), **given}
        targets = tuple(each for part in parts for each in targets_of(part))
        expected = sum(part.expected for part in parts)
        for policy, address in given.items():
            yield AddressView(job, policy, address, expected, targets)


def targets_of(table: ServiceTable) -> tuple[TargetView, ...]:
    """The instances that a table lists."""
    return tuple(
        TargetView(
            f"{table.job_name}.instance.{each.number}",
            each.address,
            f"{each.cluster}/{each.worker}",
            each.ready,
            each.draining,
        )
        for each in table.targets
    )


# --- what is wrong -------------------------------------------------------------------------------


def _of_clusters(fleet: Fleet, now: float) -> Iterator[Trouble]:
    for name, known in sorted(fleet.clusters.items()):
        if words := overlay_silence.of_cluster(known, now):
            yield Trouble(name, words, f"oakctl cluster show {name}", FAULT)


def _of_silence(fleet: Fleet) -> Iterator[Trouble]:
    for known, node in fleet.nodes():
        if words := overlay_silence.of_agent(known, node):
            name = full(known, node)
            yield Trouble(name, words, f"oakctl worker show {name}", FAULT)
    yield from overlay_silence.of_ways(fleet)


def _of_node(node: NodeOverlayView, hosts: Hosts) -> Iterator[Trouble]:
    name, host = f"{node.cluster}/{node.name}", hosts.get((node.cluster, node.name), "")
    if node.late and node.status in overlay_silence.HEARD:
        late = [table for table in node.tables if table.late]
        named = ", ".join(f"{table.job_name} ({_behind(table)})" for table in late[:3])
        more = f" and {len(late) - 3} more" if len(late) > 3 else ""
        words = f"its tables are late: {named}{more}" if late else "its tables are late"
        yield Trouble(name, words, "again in some seconds; then: oakctl worker show " + name, FAULT)
    if node.driver == "kernel" and not node.heard_at and node.status == "ready":
        words = "it has not told of its overlay"
        yield Trouble(
            name, words, "if it never does, its release is old: oakctl fleet upgrade", NOTE
        )
    if node.mode == HOST and node.tables:
        words = f"service addresses lead nowhere there: {node.reason or 'it has no overlay'}"
        asked = "asked for" in node.reason
        yield Trouble(name, words, f"oakctl host check {host}".rstrip(), NOTE if asked else FAULT)
    yield from overlay_troubles.of_problems(name, host, node.problems)


def _of_clock(known: Known, node: NodeKnown, hosts: Hosts) -> Iterator[Trouble]:
    """Ages are by a node's own clock, and it tells of itself every few seconds."""
    if node.report is None or known.answer is None or node.status != "ready":
        return
    ahead = node.report.sent_at - known.answer.sent_at
    if AHEAD_S > ahead > -BEHIND_S:
        return
    host = hosts.get((known.cluster, node.worker), "")
    words = f"its clock is {ahead:.0f} s ahead of its cluster's"
    if ahead < 0:
        words = f"its clock is {-ahead:.0f} s behind, or it has told nothing of its overlay since"
    name = full(known, node)
    hint = f"oakctl host run {host} -- timedatectl" if host else f"oakctl worker show {name}"
    yield Trouble(name, words, hint, NOTE)


def _behind(table: TableView) -> str:
    if table.generation < 0:
        return "none yet"
    return f"generation {table.generation} of {table.newest}"


def _of_pair(pair: PairView) -> Iterator[Trouble]:
    way = f"{pair.a} → {pair.b}"
    hint = f"oakctl overlay path {pair.a} {pair.b}"
    if pair.kind == NONE and pair.reason != NO_OVERLAY:  # that is told of the node
        yield Trouble(way, f"nothing gets there: {pair.reason}", hint, FAULT)
    elif pair.lost is not None and pair.lost > MUCH_LOST:
        yield Trouble(way, f"{pair.lost:.0%} of what is sent there is lost", hint, NOTE)


def _of_addresses(addresses: Iterable[AddressView]) -> Iterator[Trouble]:
    told = set()
    for address in addresses:
        takes = [each for each in address.targets if each.ready and not each.draining]
        if not takes and address.expected > 0 and address.job_name not in told:
            told.add(address.job_name)
            words = f"no instance takes calls; {address.expected} shall be there"
            yield Trouble(address.job_name, words, f"oakctl explain {address.job_name}", FAULT)
