"""A service from one node's point of view, decision by decision. Pure.

Belongs here: which instances the node may use and why not, which one each address leads to, by
which way. Does not belong here: asking the node (`overlay`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.overlay_asking import Lead, NodeKnown, NodeSight
from oakctl.model.overlay_report import DIRECT, HOST, LOOPBACK, RELAYED
from oakctl.model.overlay_views import Candidate, Choice, PairView, TargetView, TraceView, Trouble
from oakctl.orchestration.root import overlay_known, overlay_status
from oakctl.orchestration.root.overlay_known import Fleet, Known, TableKey, full
from oakctl.orchestration.root.overlay_troubles import FAULT, NOTE, of_problems
from oakctl.overlay import host
from oakctl.overlay.sight import addresses_of

TAKES = "takes calls"
KERNEL = "kernel"
BALANCED, CLOSEST, LEAST = "rr", "closest", "least"


@dataclass(frozen=True)
class _View:
    """All that a verdict goes by."""

    fleet: Fleet
    known: Known
    node: NodeKnown
    sight: NodeSight | None
    listed: Mapping[str, int]  # address of an instance that the node's tables list → generation
    newest: Mapping[TableKey, ServiceTable]

    @property
    def driver(self) -> str:
        return self.sight.driver if self.sight is not None else overlay_known.driver_of(self.node)


def trace(fleet: Fleet, job_name: str, node_name: str, machine: str = "") -> TraceView:
    """The service `job_name` as the node reaches it; `machine` is the host that it is.

    Raises NotFound and UsageError for a node that is not there, or not one.
    """
    known, node = fleet.find(node_name)
    sight = known.sight(node.worker)
    newest = {key: table for key, table in fleet.newest().items() if key[0] == job_name}
    tables = _tables(known, node, sight, job_name)
    listed = {target.address: each.generation for each in tables for target in each.targets}
    seen = _View(fleet, known, node, sight, listed, newest)
    candidates = tuple(_candidates(seen, tables))
    given = _given((*tables, *newest.values()))
    choices = tuple(_choice(seen, policy, address, candidates) for policy, address in given.items())
    return TraceView(
        job_name,
        full(known, node),
        sight.at if sight is not None else (node.report.sent_at if node.report else 0.0),
        sight is not None,
        seen.driver,
        bool(tables),
        choices,
        candidates,
        tuple(_troubles(seen, job_name, candidates, bool(tables), machine)),
    )


def _tables(
    known: Known, node: NodeKnown, sight: NodeSight | None, job_name: str
) -> tuple[ServiceTable, ...]:
    """The node's own; of a node that did not answer those that its cluster has for it."""
    if sight is not None:
        return tuple(table for table in sight.tables if table.job_name == job_name)
    found = (known.table(key) for key in node.needs if key[0] == job_name)
    return tuple(table for table in found if table is not None)


def _given(tables: Iterable[ServiceTable]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in tables:
        found = {**addresses_of(table.addresses), **found}
    return found


# --- the instances -------------------------------------------------------------------------------


def _candidates(seen: _View, tables: Iterable[ServiceTable]) -> Iterator[Candidate]:
    """Those that the node lists, and those that only the fleet knows."""
    targets: dict[str, tuple[ServiceTable, TableTarget]] = {}
    for table in (*tables, *seen.newest.values()):
        for target in table.targets:
            targets.setdefault(target.address, (table, target))
    in_order = sorted(targets.values(), key=lambda each: (each[1].cluster, each[1].number))
    for table, target in in_order:
        (shown,) = (
            each for each in overlay_status.targets_of(table) if each.address == target.address
        )
        verdict, reason = _verdict(seen, table, target)
        here = is_here(seen, target)
        way = overlay_status.pair(seen.known, seen.node, target.cluster, target.worker)
        round_trip = 0.0 if here else _round_trip(seen, target, way)
        yield Candidate(shown, verdict, reason, round_trip, _path(seen, here, way))


def is_here(seen: _View, target: TableTarget) -> bool:
    """Whether the instance is on the node itself."""
    return (target.cluster, target.worker) == (seen.known.cluster, seen.node.worker)


def _verdict(seen: _View, table: ServiceTable, target: TableTarget) -> tuple[str, str]:
    if target.address not in seen.listed:
        there = f"cluster {table.cluster} lists it (generation {table.generation})"
        return "not listed", f"{there}, this node's table does not"
    if target.draining:
        return "draining", "it keeps the flows that it has and takes no new ones"
    if not target.ready:
        return "not ready", "its own probe does not say yet that it takes calls"
    if seen.driver == LOOPBACK and target.loopback_number is None:
        return "unreachable", "its node is not on this machine, and this one's relay stays here"
    if seen.sight is None or not seen.sight.measures:
        return TAKES, ""
    if is_here(seen, target) and target.address not in seen.sight.attached:
        return (
            "not attached",
            "nothing of it runs here with its interface: it has ended, or is about to begin",
        )
    node = overlay_known.node_of(target.address)
    if any(each.address == node and not each.reachable for each in seen.sight.reach):
        return "unreachable", "its node does not answer this one"
    return TAKES, ""


def _round_trip(seen: _View, target: TableTarget, way: PairView) -> float | None:
    if seen.sight is not None:
        node = overlay_known.node_of(target.address)
        for each in seen.sight.reach:
            if each.address == node and each.round_trip_ms >= 0:
                return each.round_trip_ms
    return way.round_trip_ms


def _path(seen: _View, here: bool, way: PairView) -> str:
    if here:
        return "the relay of this node" if seen.driver == LOOPBACK else "local cable"
    if way.kind == RELAYED:
        return f"by relay {way.relay or way.endpoint}"
    if way.kind == DIRECT:
        return f"direct to {way.endpoint}" if way.endpoint else "direct"
    return {"local": "this machine's loopback", "none": "no way"}.get(way.kind, way.kind)


# --- the choices ---------------------------------------------------------------------------------


def _choice(seen: _View, policy: str, address: str, candidates: tuple[Candidate, ...]) -> Choice:
    by_address = {each.target.address: each for each in candidates}
    lead = _lead(seen, policy, address, candidates)
    shares = sorted(lead.instances.items(), key=lambda pair: (-pair[1], pair[0]))
    names = tuple(
        by_address[one].target.instance if one in by_address else one for one, _ in shares
    )
    only = by_address.get(shares[0][0]) if len(shares) == 1 else None
    return Choice(
        policy,
        address,
        names,
        tuple(round(share, 4) for _, share in shares),
        _why(seen, lead, only, candidates),
        only.path if only is not None else "",
    )


def _lead(seen: _View, policy: str, address: str, candidates: Iterable[Candidate]) -> Lead:
    """What is in force there; of a node that did not answer, what its tables lead to."""
    if seen.sight is not None:
        found = next((each for each in seen.sight.leads if each.address == address), None)
        return found or Lead(address, policy)
    takes = [each.target.address for each in candidates if each.verdict == TAKES]
    if policy == BALANCED:
        return Lead(address, policy, {each: 1 / len(takes) for each in takes})
    return Lead(address, policy, {takes[0]: 1.0} if len(takes) == 1 else {})


def _why(seen: _View, lead: Lead, only: Candidate | None, candidates: tuple[Candidate, ...]) -> str:
    takes = [each for each in candidates if each.verdict == TAKES]
    if not lead.instances:
        return _why_none(seen, lead, takes)
    if only is None:
        return _spread(seen, lead)
    if len(takes) == 1:
        return "it is the only one that takes calls"
    if lead.policy != CLOSEST:
        return f"policy {lead.policy} has it now"
    if seen.driver == LOOPBACK:
        return "the same node comes first, then the nearest by declared location"
    return _nearest(only, takes)


def _spread(seen: _View, lead: Lead) -> str:
    if lead.by_client:
        return f"each client stays with one of {len(lead.instances)} while that lives"
    how = "in turn" if seen.driver == LOOPBACK else "at random"
    return f"new calls go {how} to the {len(lead.instances)} that take calls" + (
        ", in proportion to what each has to spare" if lead.policy == LEAST else ""
    )


def _why_none(seen: _View, lead: Lead, takes: list[Candidate]) -> str:
    if seen.driver == HOST:
        return "there is no overlay on this node: the address leads nowhere"
    if seen.sight is None and takes:
        return "only the node itself knows which, and it did not answer"
    if lead.holds:
        return "calls wait: an instance is to be there soon"
    if not seen.listed:
        return "this node's table lists no instance: calls are refused at once"
    return "none of its instances takes calls: calls are refused at once"


def _nearest(only: Candidate, takes: list[Candidate]) -> str:
    if only.round_trip_ms is None:
        return "no round-trip is measured yet: the own node and cluster come first"
    others = sorted(
        (each.round_trip_ms, each.target.instance)
        for each in takes
        if each is not only and each.round_trip_ms is not None
    )
    mine = "on this node" if only.round_trip_ms == 0 else f"{only.round_trip_ms:.1f} ms away"
    if not others:
        return f"{mine}; the others are not measured"
    if others[0][0] < only.round_trip_ms:
        return (
            f"{mine}; {others[0][1]} is a little nearer ({others[0][0]:.1f} ms), "
            "too little for a change"
        )
    return f"{mine}; the next is {others[0][1]} with {others[0][0]:.1f} ms"


# --- what is wrong -------------------------------------------------------------------------------


def _troubles(
    seen: _View,
    job_name: str,
    candidates: tuple[Candidate, ...],
    knows: bool,
    machine: str,
) -> Iterator[Trouble]:
    name = full(seen.known, seen.node)
    if seen.sight is None:
        words = f"it was not heard now: {seen.known.silence(seen.node.worker)}"
        yield Trouble(name, words, f"oakctl worker show {name}", FAULT)
    if seen.driver == HOST:
        yield Trouble(name, host.REASON, "oakctl service port-forward leads to it from here", FAULT)
    if not knows:
        words = f"it knows no address of {job_name}: nothing that runs there names it"
        hint = "name it in `connectivity` of the service that calls it, and apply that anew"
        if seen.driver == KERNEL:
            hint = f"a first packet from there asks for it; or {hint}"
        yield Trouble(name, words, hint, FAULT)
    elif not candidates:
        yield Trouble(job_name, "it has no instance", f"oakctl explain {job_name}", FAULT)
    elif not any(each.verdict == TAKES for each in candidates):
        yield from _of_nobody(name, job_name, candidates)
    if any(each.verdict == "not listed" for each in candidates) and knows:
        words = "its table is late"
        hint = f"again in some seconds; then: oakctl worker show {name}"
        yield Trouble(name, words, hint, FAULT)
    if seen.sight is not None:
        yield from of_problems(name, machine, seen.sight.problems)


def _of_nobody(name: str, job_name: str, candidates: Iterable[Candidate]) -> Iterator[Trouble]:
    away = [each.target for each in candidates if each.verdict == "unreachable"]
    for node in dict.fromkeys(target.node for target in away):
        words = f"{node} does not answer, and {_names(away, node)} is there"
        yield Trouble(name, words, f"oakctl overlay path {name} {node}", FAULT)
    if not away:
        yield Trouble(job_name, "no instance takes calls", f"oakctl explain {job_name}", NOTE)


def _names(targets: Iterable[TargetView], node: str) -> str:
    return ", ".join(each.instance for each in targets if each.node == node)
