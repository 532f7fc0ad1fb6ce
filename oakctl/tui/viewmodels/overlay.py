"""The overlay in words and rows: addresses and where they lead, pairs and their ways, faults.

Belongs here: what is said of each, for the screens and for `oakctl overlay`. Does not belong here:
a widget, or what is wrong with what (the root says that).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from oakctl.model.overlay_asking import FAILED, REACHED, UNKNOWN, Probe
from oakctl.model.overlay_report import ALONE, DIRECT, FULL, HOST, LOCAL, NONE, RELAYED
from oakctl.model.overlay_views import (
    AddressView,
    Candidate,
    Choice,
    Hop,
    NodeOverlayView,
    OverlayView,
    PairView,
    RouteView,
    TestedView,
    TraceView,
    Trouble,
)
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Row, cell
from oakctl.tui.viewmodels.status import Tone

ADDRESS_COLUMNS = ("Service", "Policy", "Address", "Leads to", "Where")
TROUBLE_COLUMNS = ("Where", "Problem", "What to do")
PAIR_COLUMNS = ("From", "To", "Path", "Round-trip", "Reason")
MOST_NAMED = 3
MOST_SQUARES, LONGEST_SQUARE = 8, 40

_PATHS = {
    DIRECT: Tone.GOOD,
    LOCAL: Tone.GOOD,
    RELAYED: Tone.WARNING,
    NONE: Tone.BAD,
}
_MODES = {FULL: Tone.GOOD, "loopback": Tone.GOOD, ALONE: Tone.WARNING, HOST: Tone.WARNING}
_OUTCOMES = {REACHED: Tone.GOOD, FAILED: Tone.BAD, UNKNOWN: Tone.WARNING}
_POLICIES = {"rr": "balanced", "least": "least loaded"}


def policy(name: str) -> str:
    """A policy as people call it."""
    return _POLICIES.get(name, name.replace("_", " "))


def milliseconds(value: float | None) -> str:
    """A round-trip; "-" where none was measured."""
    if value is None or value < 0:
        return "-"
    return f"{value:.1f} ms" if value >= 0.05 or value == 0 else "<0.1 ms"


def way(kind: str, relay: str, endpoint: str) -> str:
    """How a pair's traffic goes: "direct", "by relay w1"."""
    if kind == RELAYED:
        return f"by relay {relay or endpoint}".rstrip()
    return kind


def path(pair: PairView) -> str:
    """As `way`, of a pair."""
    return way(pair.kind, pair.relay, pair.endpoint)


def why(pair: PairView) -> str:
    """The reason for a pair's way, and what is lost on it."""
    lost = f"{pair.lost:.0%} lost" if pair.lost else ""
    return "; ".join(filter(None, (pair.reason, lost))) or "-"


def path_tone(pair: PairView) -> Tone | None:
    """What a way means for who reads of it."""
    return _PATHS.get(pair.kind)


def mode_tone(node: NodeOverlayView) -> Tone | None:
    """Likewise a node's mode."""
    return _MODES.get(node.mode)


def outcome_tone(outcome: str) -> Tone | None:
    """Likewise what came of a try."""
    return _OUTCOMES.get(outcome)


def tables(node: NodeOverlayView) -> str:
    """ "3", "3, 1 late"; the tables that a node has."""
    late = sum(table.late for table in node.tables)
    return f"{len(node.tables)}, {late} late" if late else str(len(node.tables))


def leads_to(address: AddressView) -> str:
    """How many instances take calls: "2 of 3"."""
    takes = sum(each.ready and not each.draining for each in address.targets)
    total = max(len(address.targets), address.expected)
    return f"{takes} of {total}" if total != takes else str(takes)


def _where(address: AddressView) -> str:
    places = Counter(each.node for each in address.targets if each.ready and not each.draining)
    named = [f"{node} ×{many}" if many > 1 else node for node, many in sorted(places.items())]
    more = f" +{len(named) - MOST_NAMED}" if len(named) > MOST_NAMED else ""
    return ", ".join(named[:MOST_NAMED]) + more or "nowhere"


# --- rows of the screen ----------------------------------------------------------------------


def address_rows(view: OverlayView, shown: Filter = NO_FILTER) -> tuple[Row, ...]:
    """One for each address of each service."""
    return tuple(
        Row(
            f"service:{each.job_name} {each.policy}",
            (
                cell(words.short_job(each.job_name)),
                cell(policy(each.policy)),
                cell(each.address),
                cell(leads_to(each), Tone.BAD if each.expected and not _takes(each) else None),
                cell(_where(each)),
            ),
        )
        for each in view.addresses
        if shown.lets({"name": each.job_name, "policy": each.policy, "address": each.address})
    )


def _takes(address: AddressView) -> bool:
    return any(each.ready and not each.draining for each in address.targets)


def pair_key(pair: PairView) -> str:
    """What its row is known by."""
    return f"pair:{pair.a} {pair.b}"


def pair_rows(view: OverlayView, shown: Filter = NO_FILTER) -> tuple[Row, ...]:
    """One for each pair that carries traffic."""
    return tuple(
        Row(
            pair_key(each),
            (
                cell(each.a),
                cell(each.b),
                cell(path(each), path_tone(each)),
                cell(milliseconds(each.round_trip_ms)),
                cell(why(each)),
            ),
        )
        for each in view.pairs
        if shown.lets({"from": each.a, "to": each.b, "path": path(each), "reason": each.reason})
    )


def trouble_rows(view: OverlayView, shown: Filter = NO_FILTER) -> tuple[Row, ...]:
    """One for each thing that is wrong, worst first."""
    return tuple(
        Row(
            f"trouble:{number}",
            (
                cell(each.where, Tone.IDLE if each.severity == "note" else Tone.BAD),
                cell(each.words),
                cell(each.hint or "-"),
            ),
        )
        for number, each in enumerate(view.troubles)
        if shown.lets({"where": each.where, "problem": each.words})
    )


def summary(view: OverlayView, now: float, fault: str = "") -> Iterator[str]:
    """How much there is, and how old what is told of it is; `fault`: why it is not newer."""
    if fault:
        yield f"not asked: {fault}"
    if not view.at:
        if not fault:
            yield "asking the clusters"
        return
    modes = Counter(node.mode or "untold" for node in view.nodes)
    counted = ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items())) or "none"
    late = [f"{node.cluster}/{node.name}" for node in view.nodes if node.late]
    more = f" +{len(late) - MOST_NAMED}" if len(late) > MOST_NAMED else ""
    yield f"nodes   {counted}"
    yield f"tables  {'late on ' + ', '.join(late[:MOST_NAMED]) + more if late else 'none is late'}"
    heard = (
        f"{each.name} {words.age(each.heard_at, now)}{' ago' if each.heard_at else ''}"
        for each in view.clusters
    )
    yield f"heard   {', '.join(heard) or '-'}"


def trouble(each: Trouble) -> str:
    """One line of what is wrong, with what to do."""
    mark = "·" if each.severity == "note" else "✗"
    hint = f"  → {each.hint}" if each.hint else ""
    return f"{mark} {each.where}: {each.words}{hint}"


# --- pages of text ---------------------------------------------------------------------------


def trace_lines(view: TraceView, now: float) -> Iterator[str]:
    """A trace, decision by decision."""
    age = "now" if view.asked else f"as it told {words.age(view.at, now)} ago"
    if not view.asked and not view.at:
        age = "by its cluster's word"
    yield f"{view.job_name} from {view.node} ({view.driver or 'unknown'} overlay), {age}"
    yield ""
    yield "1. addresses of the service"
    if not view.choices:
        yield "   none"
    for each in view.choices:
        yield f"   {policy(each.policy):<14} {each.address}"
    yield ""
    yield "2. instances, as this node has them"
    if not view.candidates:
        yield "   none"
    for candidate in view.candidates:
        yield f"   {_candidate(candidate)}"
    yield ""
    yield "3. where calls go"
    if not view.choices:
        yield "   nowhere"
    for each in view.choices:
        yield f"   {policy(each.policy):<14} {_choice(each)}"
    yield from _wrong(view.troubles)


def _candidate(each: Candidate) -> str:
    target = each.target
    parts = [
        f"{words.short_instance(target.instance):<12} {target.address:<15} {target.node:<16}",
        each.verdict,
    ]
    if each.reason:
        parts[-1] += f": {each.reason}"
    if each.path:
        parts.append(each.path)
    if each.round_trip_ms:  # on the node itself there is none to speak of
        parts.append(milliseconds(each.round_trip_ms))
    return parts[0] + " " + ", ".join(parts[1:])


def _choice(each: Choice) -> str:
    if not each.instances:
        return f"nowhere: {each.why}"
    named = [words.short_instance(name) for name in each.instances[:MOST_NAMED]]
    if len(each.instances) > 1:
        named = [f"{name} {share:.0%}" for name, share in zip(named, each.shares, strict=False)]
    more = f" +{len(each.instances) - MOST_NAMED}" if len(each.instances) > MOST_NAMED else ""
    by = f", {each.path}" if each.path else ""
    return f"{', '.join(named)}{more}{by}: {each.why}"


def route_lines(view: RouteView) -> Iterator[str]:
    """A way, hop by hop."""
    yield f"{view.a} → {view.b}: {view.kind}"
    yield ""
    for number, hop in enumerate(view.hops, 1):
        yield f"{number}. {_hop(hop)}"
    yield from _wrong(view.troubles)


def _hop(hop: Hop) -> str:
    mark = {True: "●", False: "✗", None: "○"}[hop.good]
    trip = f"  {milliseconds(hop.round_trip_ms)}" if hop.round_trip_ms is not None else ""
    return f"{mark} {hop.at:<16} {hop.words}{trip}"


def tested_lines(view: TestedView) -> Iterator[str]:
    """From each node to each in short, then all that was tried and what came of it."""
    if squares := matrix(view):
        widths = [max(map(len, column)) for column in zip(*squares, strict=True)]
        for row in squares:
            cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
            yield "  ".join(cells).rstrip()
        yield ""
    for node in view.nodes:
        counts = Counter(probe.outcome for probe in node.probes)
        told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        yield f"from {node.node}: {node.fault or told or 'nothing to try'}"
        for probe in node.probes:
            yield f"  {tried(probe)}"
    yield from _wrong(view.troubles)


def matrix(view: TestedView) -> list[list[str]]:
    """Rows of cells: from which node, and what was found of each other one.

    A try that failed outweighs others; else it is the quickest answer. Empty where nothing was
    tried, and with fewer than two nodes, or more than fit beside each other.
    """
    names = list(dict.fromkeys(node.node for node in view.nodes))
    tried_on = dict.fromkeys(probe.node for node in view.nodes for probe in node.probes)
    names += [name for name in tried_on if name and name not in names]
    if not tried_on or not 2 <= len(names) <= MOST_SQUARES:
        return []
    found = [["from / to", *names]]
    for node in view.nodes:
        row = [node.node]
        row += [_square([each for each in node.probes if each.node == name]) for name in names]
        found.append(row)
    return [[words.clean(cell, LONGEST_SQUARE) for cell in row] for row in found]


def _square(probes: list[Probe]) -> str:
    failed = sum(probe.outcome == FAILED for probe in probes)
    if failed:
        return f"✗ {failed} of {len(probes)}"
    times = [probe.round_trip_ms for probe in probes if probe.outcome == REACHED]
    return f"● {milliseconds(min(times))}" if times else "▲ ?" if probes else "-"


def tried(probe: Probe) -> str:
    """One try and what came of it."""
    mark = {REACHED: "●", FAILED: "✗", UNKNOWN: "▲"}.get(probe.outcome, "○")
    at = f"{probe.address}:{probe.port}" if probe.port else probe.address
    trip = milliseconds(probe.round_trip_ms) if probe.outcome == REACHED else probe.words
    name = words.short_instance(probe.to)
    if " " in name:  # a service's address
        job, _, which = name.partition(" ")
        name = f"{words.short_job(job)} {policy(which)}"
    return f"{mark} {probe.kind:<10} {name:<18} {at:<21} {trip}"


def _wrong(troubles: Iterable[Trouble]) -> Iterator[str]:
    found = list(troubles)
    if not found:
        return
    yield ""
    for each in found:
        yield trouble(each)
