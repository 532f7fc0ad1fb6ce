"""What is said of a real overlay, to tests that have a fleet of light hosts with traffic on it.

Belongs here: that status, traces, paths and tries agree with how the lab's hosts lie. Does not
belong here: calling services (the tests themselves).
"""

from __future__ import annotations

from oakctl.model.overlay_report import DIRECT, FULL, RELAYED
from oakctl.model.overlay_views import OverlayView
from tests.lab_namespaces.light_fleet import WORKERS, LightFleet
from tests.waiting import until


async def the_overlay_says_so(fleet: LightFleet) -> None:
    """With S on home1, home2 and office, and clients of it everywhere."""
    overlay = fleet.root.overlay
    view = await until("a way for each pair", overlay.view, is_whole, wait_s=240.0)
    assert {node.name: node.mode for node in view.nodes} == dict.fromkeys(WORKERS, FULL)
    assert all(pair.reason for pair in view.pairs)
    kinds = {(pair.a, pair.b): pair.kind for pair in view.pairs}
    assert kinds["edge/edge", "edge/office"] == DIRECT  # it is the relay itself

    route = await overlay.route("edge/edge", "office")
    assert [hop.at for hop in route.hops] == ["edge/edge", "tunnel", "direct", "edge/office"]
    if kinds["edge/home1", "edge/office"] == RELAYED:
        by_relay = await overlay.route("home1", "office")
        assert "relay edge/edge" in [hop.at for hop in by_relay.hops]

    trace = await overlay.trace("S", "office")
    assert (trace.asked, trace.driver) == (True, "kernel")
    assert {each.verdict for each in trace.candidates} == {"takes calls"}
    own = next(each for each in trace.candidates if each.target.node == "edge/office")
    assert own.path == "local cable"
    balanced, closest = trace.choices
    assert len(balanced.instances) == len(trace.candidates)
    assert closest.instances == (own.target.instance,)
    assert closest.why.startswith("on this node")

    tested = await overlay.test()
    failed = [(one.node, each) for one in tested.nodes for each in one.probes if one.failed]
    assert failed == []
    kinds_tried = {each.kind for one in tested.nodes for each in one.probes}
    assert kinds_tried == {"ping", "ping large", "tcp", "udp"}
    assert all(one.probes for one in tested.nodes)


def is_whole(found: OverlayView) -> bool:
    """Whether each node has told of ways to all that it calls, and nothing is late."""
    measured = all(
        pair.kind in (DIRECT, RELAYED) and pair.round_trip_ms is not None for pair in found.pairs
    )
    return measured and len(found.pairs) >= 9 and not any(node.late for node in found.nodes)
