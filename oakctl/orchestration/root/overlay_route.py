"""The way from one node to another, stage by stage. Pure.

Belongs here: what each stage is by the word of both nodes, and what is wrong. Does not belong
here: asking them (`overlay`), services (`overlay_trace`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.overlay_asking import NodeKnown
from oakctl.model.overlay_report import ALONE, DIRECT, LOCAL, NONE, RELAYED, PathReport
from oakctl.model.overlay_views import Hop, RouteView, Trouble
from oakctl.orchestration.root import overlay_known, overlay_status, overlay_troubles
from oakctl.orchestration.root.overlay_known import Fleet, Known, full
from oakctl.orchestration.root.overlay_troubles import FAULT, NOTE

HANDSHAKE_S = 200.0  # WireGuard makes a new one at least every three minutes while it is used

End = tuple[Known, NodeKnown]


def route(fleet: Fleet, a: str, b: str, hosts: overlay_status.Hosts, now: float) -> RouteView:
    """Between two nodes, by NAME or CLUSTER/NAME.

    Raises NotFound and UsageError for a node that is not there, or not one.
    """
    start, end = fleet.find(a), fleet.find(b)
    names = full(*start), full(*end)
    if names[0] == names[1]:
        hops = (_end(start), Hop("cable", "instances of one node meet in its kernel", True, 0.0))
        return RouteView(*names, LOCAL, hops, tuple(_of_ends((start,), hosts)))
    pair = overlay_status.pair(*start, end[0].cluster, end[1].worker)
    there = overlay_known.way(start[1], end[0].cluster, end[1].worker)
    back = overlay_known.way(end[1], start[0].cluster, start[1].worker)
    way = _between(fleet, start, end, there, pair.kind, now)
    troubles = (
        *_of_ends((start, end), hosts),
        *_of_way(names, start, there, pair.kind, pair.reason, now),
        *_of_return(names, there, back),
    )
    return RouteView(*names, pair.kind, (_end(start), *way, _end(end)), troubles)


def _end(end: End) -> Hop:
    known, node = end
    mode = overlay_known.mode_of(node)
    carrier = node.report.carrier if node.report is not None else ""
    words = [f"overlay {mode or overlay_known.driver_of(node) or 'unknown'}"]
    if carrier:
        words.append(f"tunnel by {carrier}")
    if reason := overlay_known.reason_of(node):
        words.append(reason)
    if node.status != "ready":
        words.append(f"its agent is {node.status}")
    return Hop(full(known, node), ", ".join(words), node.status == "ready")


def _between(
    fleet: Fleet, start: End, end: End, there: PathReport | None, kind: str, now: float
) -> Iterator[Hop]:
    if there is None or kind in (NONE, LOCAL):
        pair = overlay_status.pair(*start, end[0].cluster, end[1].worker)
        good = None if pair.kind == overlay_status.UNKNOWN else pair.kind == LOCAL
        yield Hop(pair.kind, pair.reason, good, pair.round_trip_ms)
        return
    tunnel = f"to {there.endpoint}" if there.endpoint else "where it is was learned"
    yield Hop("tunnel", ", ".join((tunnel, _handshake(there, now))), is_fresh(there, now))
    if kind == RELAYED:
        yield _relay(fleet, start, there)
        if (second := _second_relay(end, start, there)) is not None:
            yield second
    words = there.reason or kind
    if there.sent:
        words += f"; {there.lost} of {there.sent} echoes lost"
    measured = there.round_trip_ms is not None
    yield Hop(kind, words, measured or None, there.round_trip_ms)


def _relay(fleet: Fleet, start: End, there: PathReport) -> Hop:
    known, node = start
    for cluster in dict.fromkeys((known.cluster, there.cluster, *sorted(fleet.clusters))):
        other = fleet.clusters.get(cluster)
        found = other.node(there.relay) if other is not None else None
        if other is not None and found is not None:
            leg = overlay_known.way(node, cluster, there.relay)
            alive = found.status == "ready"
            words = "passes on" if alive else f"passes on; its agent is {found.status}"
            name = f"relay {full(other, found)}"
            return Hop(name, words, alive, leg.round_trip_ms if leg is not None else None)
    return Hop(f"relay {there.relay}".rstrip(), "passes on")


def _second_relay(end: End, start: End, there: PathReport) -> Hop | None:
    """The relay of the other cluster, by the word of the node behind it; None: one passes on."""
    known, node = end
    back = overlay_known.way(node, start[0].cluster, start[1].worker)
    if back is None or back.kind != RELAYED or not back.relay or there.cluster == start[0].cluster:
        return None
    found = known.node(back.relay)
    if found is None or back.relay == node.worker:
        return None
    alive = found.status == "ready"
    words = f"passes on in {known.cluster}" if alive else f"passes on; its agent is {found.status}"
    return Hop(f"relay {full(known, found)}", words, alive)


def _handshake(there: PathReport, now: float) -> str:
    if there.handshake_at <= 0:
        return "no handshake yet"
    return f"last handshake {max(0.0, now - there.handshake_at):.0f} s ago"


def is_fresh(there: PathReport, now: float) -> bool | None:
    """Whether the tunnel is in use; None where an idle one would look the same."""
    if there.handshake_at <= 0:
        return False if there.sent else None
    return now - there.handshake_at < HANDSHAKE_S or None


# --- what is wrong -------------------------------------------------------------------------------


def _of_ends(ends: tuple[End, ...], hosts: overlay_status.Hosts) -> Iterator[Trouble]:
    for known, node in ends:
        name = full(known, node)
        if known.fault:
            words = f"cluster {known.cluster} does not answer, so this is old: {known.fault}"
            yield Trouble(name, words, f"oakctl cluster show {known.cluster}", FAULT)
        if node.status != "ready":
            yield Trouble(name, f"its agent is {node.status}", f"oakctl worker show {name}", FAULT)
        if overlay_known.mode_of(node) == ALONE:
            words = overlay_known.reason_of(node) or "it has no tunnel to other nodes"
            hint = f"oakctl host check {hosts.get(_key(known, node), '')}".rstrip()
            yield Trouble(name, words, hint, FAULT if "tunnel" in words else NOTE)
        problems = node.report.problems if node.report is not None else ()
        yield from overlay_troubles.of_problems(name, hosts.get(_key(known, node), ""), problems)


def _key(known: Known, node: NodeKnown) -> tuple[str, str]:
    return known.cluster, node.worker


def _of_way(
    names: tuple[str, str], start: End, there: PathReport | None, kind: str, reason: str, now: float
) -> Iterator[Trouble]:
    way = f"{names[0]} → {names[1]}"
    if kind == NONE:
        yield Trouble(way, f"nothing gets there: {reason}", overlay_troubles.of_way(reason), FAULT)
    elif there is None and kind == overlay_status.UNKNOWN:
        hint = f"oakctl worker show {names[0]}" if start[1].report is None else ""
        yield Trouble(
            way, reason, hint or "they learn of each other with a service in common", NOTE
        )
    elif there is not None and kind in (DIRECT, RELAYED):
        if is_fresh(there, now) is False:
            words = f"the tunnel to {there.endpoint or 'it'} never came about"
            hint = "let UDP through to that address and port, or give the cluster a relay"
            yield Trouble(way, words, hint, FAULT)
        elif there.sent >= overlay_status.ENOUGH_SENT and there.lost == there.sent:
            words = "the tunnel is there, and no echo came back"
            yield Trouble(way, words, f"oakctl overlay test --from {names[0]}", FAULT)


def _of_return(
    names: tuple[str, str], there: PathReport | None, back: PathReport | None
) -> Iterator[Trouble]:
    if there is None or back is None or there.kind == back.kind:
        return
    words = f"there it is {there.kind}, and back {back.kind}: {back.reason or 'it gave no reason'}"
    yield Trouble(f"{names[1]} → {names[0]}", words, "both sides change within seconds", NOTE)
