"""An overlay to draw, friendly or hostile, and answers about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from oakctl.model.overlay_asking import FAILED, REACHED, UNKNOWN, Probe
from oakctl.model.overlay_views import (
    AddressView,
    Candidate,
    Choice,
    ClusterOverlayView,
    Hop,
    NodeOverlayView,
    OverlayView,
    PairView,
    RouteView,
    TableView,
    TargetView,
    TestedView,
    TraceView,
    TriesView,
    Trouble,
)

REFUSED = "refused: nothing listens there"
PRE, REC = "ar.default.Pre.default", "ar.default.Rec.default"


@dataclass
class FakeOverlay:
    """Answers as they are given here."""

    given: OverlayView = OverlayView(0.0)
    traced: TraceView = TraceView(PRE, "edge/w1", 0.0, True, "kernel", True)
    routed: RouteView = RouteView("edge/w1", "cloud/w1", "relayed")
    tested: TestedView = TestedView(0.0)
    failing: Exception | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def view(self) -> OverlayView:
        if self.failing is not None:
            raise self.failing
        return self.given

    async def trace(self, service: str, node: str) -> TraceView:
        self.asked.append(("trace", service, node))
        return self.traced

    async def route(self, a: str, b: str) -> RouteView:
        self.asked.append(("route", a, b))
        return self.routed

    async def test(self, nodes: Sequence[str] = ()) -> TestedView:
        self.asked.append(("test", *nodes))
        return self.tested


def node(
    name: str, cluster: str = "edge", *, late: bool = False, mode: str = "full", reason: str = ""
) -> NodeOverlayView:
    tables = (TableView(PRE, "edge", 4 if late else 5, 5, late),)
    return NodeOverlayView(
        name, cluster, "ready", "kernel", mode, reason, "10.18.0.0/26", "wireguard-go",
        tables=tables, late=late,
    )  # fmt: skip


def storied(now: float) -> FakeOverlay:
    """Three nodes, a relayed pair, a late table, an address without instances."""
    w1, w2, cloud = (
        TargetView(f"{PRE}.instance.{number}", f"10.18.{number}.2", where)
        for number, where in enumerate(("edge/w1", "edge/w2", "cloud/w1"))
    )
    view = OverlayView(
        now,
        (ClusterOverlayView("cloud", now - 300, "no tunnel"), ClusterOverlayView("edge", now - 1)),
        (node("w1", "cloud", mode="alone", reason="no tunnel"), node("w1"), node("w2", late=True)),
        (
            PairView("edge/w1", "edge/w2", "direct", "proven", 1.5, "192.0.2.2:51820"),
            PairView("edge/w1", "cloud/w1", "relayed", "symmetric NAT", 25.0, "", "hub", 0.02),
            PairView("edge/w2", "cloud/w1", "none", "UDP is blocked"),
        ),
        (
            AddressView(PRE, "rr", "10.30.9.1", 3, (w1, w2, cloud)),
            AddressView(PRE, "closest", "10.30.9.2", 3, (w1, w2, cloud)),
            AddressView(REC, "least", "10.30.9.3", 1),
        ),
        (
            Trouble("edge/w2", "its tables are late", "oakctl worker show edge/w2"),
            Trouble("edge/w2 → cloud/w1", "nothing gets there", "oakctl overlay path a b"),
            Trouble("edge/w1", "the table was loaded anew", "nothing", "note"),
        ),
    )
    trace = TraceView(
        PRE, "edge/w1", now, True, "kernel", True,
        (
            Choice("rr", "10.30.9.1", (w1.instance, w2.instance), (0.5, 0.5), "at random"),
            Choice("closest", "10.30.9.2", (w1.instance,), (1.0,), "on this node", "local cable"),
        ),
        (
            Candidate(w1, "takes calls", "", 0.0, "local cable"),
            Candidate(w2, "takes calls", "", 1.5, "direct to 192.0.2.2:51820"),
            Candidate(cloud, "unreachable", "its node does not answer", None, "by relay hub"),
        ),
        (Trouble("edge/w1", "something", "oakctl worker show edge/w1"),),
    )  # fmt: skip
    hops = (Hop("edge/w1", "overlay full", True), Hop("relay edge/hub", "passes on", None, 10.0))
    probes = (
        Probe("ping", "edge/w2", "10.18.1.1", 0, REACHED, 1.5, node="edge/w2"),
        Probe("tcp", w2.instance, "10.18.1.2", 80, FAILED, -1.0, REFUSED, "edge/w2"),
        Probe("tcp", w1.instance, "10.18.0.2", 80, REACHED, 0.2, node="edge/w1"),
        Probe("tcp", f"{PRE} closest", "10.30.9.2", 80, REACHED, 0.01),
        Probe("udp", w2.instance, "10.18.1.2", 81, UNKNOWN, words="sent; nothing came back"),
    )
    tested = TestedView(now, (TriesView("edge/w1", probes), TriesView("edge/w2", (), "it is dead")))
    return FakeOverlay(view, trace, RouteView("edge/w1", "cloud/w1", "relayed", hops), tested)


def hostile(now: float, texts: Sequence[str]) -> FakeOverlay:
    """Each text in each place."""
    everything = "".join(texts)
    nodes, pairs, addresses, troubles, probes = [], [], [], [], []
    for text in texts:
        target = TargetView(text, text, text)
        nodes.append(node(text, text, late=True, mode=text, reason=text))
        pairs.append(PairView(text, text, text, text, 1.0, text, text))
        pairs.append(PairView(text, f"{text}b", "relayed", text, 1.0, text, text, 0.5))
        addresses.append(AddressView(text, text, text, 1, (target,)))
        troubles.append(Trouble(text, text, text))
        probes.append(Probe(text, text, text, 1, text, 1.0, text))
    clusters = tuple(ClusterOverlayView(text, now, text) for text in texts)
    view = OverlayView(now, clusters, tuple(nodes), tuple(pairs), tuple(addresses), tuple(troubles))
    target = TargetView(everything, everything, everything)
    trace = TraceView(
        everything, everything, now, False, everything, True,
        (Choice(everything, everything, (everything,), (1.0,), everything, everything),),
        (Candidate(target, everything, everything, 1.0, everything),), tuple(troubles),
    )  # fmt: skip
    hops = (Hop(everything, everything, False, 1.0),)
    route = RouteView(everything, everything, everything, hops, tuple(troubles))
    tested = TestedView(now, (TriesView(everything, tuple(probes), everything),), tuple(troubles))
    return FakeOverlay(view, trace, route, tested)
