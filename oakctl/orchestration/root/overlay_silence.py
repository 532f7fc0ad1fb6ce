"""Who is not heard any more, since when, and what of it goes on all the same. Pure.

Belongs here: words for a silent agent or a cluster that does not answer. Does not belong here: when
an agent counts as silent (the cluster's `liveness`), all else that is wrong (`overlay_status`).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.overlay_asking import NodeKnown
from oakctl.model.overlay_report import DIRECT, RELAYED, PathReport
from oakctl.model.overlay_views import Trouble
from oakctl.orchestration.root import overlay_known
from oakctl.orchestration.root.overlay_known import Fleet, Known, full

FAULT = "fault"
HEARD = ("ready", "never-seen")  # of these there is nothing to tell here
_STEPS = ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h"))
_DAY_S = 86400.0


def lasting(seconds: float) -> str:
    """A time in words: "12 s", "5 min"; a clock that was set back makes it no less than 0."""
    for below, unit_s, unit in _STEPS:
        if seconds < below:
            return f"{max(0.0, seconds) / unit_s:.0f} {unit}"
    return f"{seconds / _DAY_S:.0f} days"


def of_agent(known: Known, node: NodeKnown) -> str:
    """What it means that the agent of this node is not heard; empty where it is."""
    if node.status in HEARD or known.answer is None:
        return ""
    asked_at = known.answer.sent_at
    silent = f" for {lasting(asked_at - node.heartbeat_at)}" if node.heartbeat_at else ""
    words = f"its agent is {node.status}: silent{silent}"
    if node.report is None:
        return f"{words}; what its overlay led to last goes on by itself"
    # The first part is by the node's clock alone, the second by its cluster's alone.
    told_before = max(0.0, asked_at - node.heartbeat_at) if node.heartbeat_at else 0.0
    age = node.report.sent_at - node.report.tables_at + told_before
    if node.report.tables_at <= 0:
        return f"{words}; it has no tables yet"
    return f"{words}; its tables are as of {lasting(age)} ago, and go on to lead as they did"


def of_cluster(known: Known, now: float) -> str:
    """What it means that a cluster does not answer; empty where it does. `now`: our clock."""
    if not known.fault:
        return ""
    since = f" for {lasting(now - known.heard_at)}" if known.heard_at else ""
    going_on = "its nodes go on by what they were told last"
    return f"does not answer{since}, so what is shown of it is old: {known.fault}; {going_on}"


def of_ways(fleet: Fleet) -> Iterator[Trouble]:
    """Direct paths that died while the agent of one side is away: that side still sends there."""
    for known, node in fleet.nodes():
        if node.status != "ready" or node.report is None:
            continue
        for path in node.report.paths:
            other = _silent(fleet, path)
            back = overlay_known.way(other, known.cluster, node.worker) if other else None
            if back is None or path.kind != RELAYED or back.kind != DIRECT:
                continue
            there = f"{path.cluster}/{path.worker}"
            words = (
                f"the direct path died while {there}'s agent is away, and its tunnel sends there "
                "until that is back; new calls are led to instances elsewhere"
            )
            hint = f"start its agent: oakctl worker show {there}"
            yield Trouble(f"{full(known, node)} → {there}", words, hint, FAULT)


def _silent(fleet: Fleet, path: PathReport) -> NodeKnown | None:
    cluster = fleet.clusters.get(path.cluster)
    node = cluster.node(path.worker) if cluster is not None else None
    return node if node is not None and node.status not in HEARD else None
