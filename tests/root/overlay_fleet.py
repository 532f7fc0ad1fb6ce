"""A fleet's overlay as clusters tell it: two nodes and a relay in `edge`, one node in `cloud`.

Node N of a cluster has 10.18.N.0/26 (edge) or 10.18.16.N/26 (cloud); instance K of service Rec is
on node K+1.
"""

from __future__ import annotations

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.node import NodeFacts
from oakctl.model.overlay_asking import Lead, NodeKnown, NodeSight, OverlayAnswer, Reach
from oakctl.model.overlay_report import DIRECT, FULL, RELAYED, OverlayReport, PathReport
from oakctl.model.resources import Resources
from oakctl.model.service import Port, ServiceAddresses
from oakctl.orchestration.root.overlay_known import Fleet, Known

NOW = 1000.0
REC = "ar.ns.Rec.ns"
BALANCED, CLOSEST = "10.30.9.1", "10.30.9.2"
W1, W2, CLOUD = "10.18.1.2", "10.18.2.2", "10.18.16.2"  # Rec's instances
ADDRESSES = ServiceAddresses(BALANCED, CLOSEST)


def target(number: int, address: str, worker: str, cluster: str, **more: object) -> TableTarget:
    return TableTarget(number, address, worker, cluster, "", **more)  # type: ignore[arg-type]


def table(cluster: str, generation: int, *targets: TableTarget, expected: int = 0) -> ServiceTable:
    return ServiceTable(
        REC, cluster, generation, ADDRESSES, (Port(80),), targets, expected or len(targets)
    )


EDGE_TABLE = table("edge", 5, target(0, W1, "w1", "edge"), target(1, W2, "w2", "edge"))
CLOUD_TABLE = table("cloud", 7, target(2, CLOUD, "v1", "cloud"))


def path(worker: str, cluster: str, kind: str, **more: object) -> PathReport:
    return PathReport(worker, cluster, kind, **more)  # type: ignore[arg-type]


def report(worker: str, *paths: PathReport, **more: object) -> OverlayReport:
    values: dict[str, object] = {"carrier": "wireguard-go", "tables_at": NOW - 60, **more}
    return OverlayReport(
        worker, "a", 1, NOW - 2, "kernel", str(values.pop("mode", FULL)), paths=paths, **values  # type: ignore[arg-type]
    )  # fmt: skip


def facts(driver: str = "kernel", reason: str = "") -> NodeFacts:
    return NodeFacts(
        "h", "x86_64", "Debian", "3.11", Resources(),
        overlay_driver=driver, overlay_reason=reason,
    )  # fmt: skip


def node(worker: str, its_report: OverlayReport | None, **more: object) -> NodeKnown:
    values: dict[str, object] = {
        "status": "ready", "heartbeat_at": NOW - 1, "subnet": "10.18.1.0/26", "facts": facts(),
        "needs": ((REC, "edge"), (REC, "cloud")), "tables_revision": 9, "has_revision": 9, **more,
    }  # fmt: skip
    return NodeKnown(worker, report=its_report, **values)  # type: ignore[arg-type]


def w1(**more: object) -> NodeKnown:
    paths = (
        path("w2", "edge", DIRECT, reason="proven", round_trip_ms=1.5, endpoint="192.0.2.2:51820",
             sent=100, lost=0, handshake_at=NOW - 30),
        path("v1", "cloud", RELAYED, reason="symmetric NAT on both sides", round_trip_ms=25.0,
             endpoint="192.0.2.9:51820", relay="hub", sent=100, lost=1, handshake_at=NOW - 30),
        path("hub", "edge", DIRECT, round_trip_ms=10.0),
    )  # fmt: skip
    return node("w1", report("w1", *paths), **more)


def w2(**more: object) -> NodeKnown:
    back = path("w1", "edge", DIRECT, endpoint="192.0.2.1:51820", round_trip_ms=1.6)
    return node("w2", report("w2", back), **{"needs": (), **more})  # type: ignore[arg-type]


def hub() -> NodeKnown:
    return node("hub", report("hub"), needs=())


def v1(**more: object) -> NodeKnown:
    back = path("w1", "edge", RELAYED, relay="hub", round_trip_ms=26.0)
    return node("v1", report("v1", back), **{"needs": (), **more})  # type: ignore[arg-type]


def sight(**more: object) -> NodeSight:
    """What w1 says of itself."""
    values: dict[str, object] = {
        "tables": (EDGE_TABLE, CLOUD_TABLE),
        "leads": (
            Lead(BALANCED, "rr", {W1: 1 / 3, W2: 1 / 3, CLOUD: 1 / 3}),
            Lead(CLOSEST, "closest", {W1: 1.0}),
        ),
        "reach": (Reach("10.18.2.1", True, 1.5), Reach("10.18.16.1", True, 25.0)),
        "attached": (W1,),
        "measures": True,
        **more,
    }
    return NodeSight("w1", NOW, "kernel", **values)  # type: ignore[arg-type]


def edge(*nodes: NodeKnown, **more: object) -> OverlayAnswer:
    values: dict[str, object] = {"tables": (EDGE_TABLE, CLOUD_TABLE), "sights": (sight(),), **more}
    return OverlayAnswer("edge", NOW, nodes or (hub(), w1(), w2()), **values)  # type: ignore[arg-type]


def cloud(*nodes: NodeKnown, **more: object) -> OverlayAnswer:
    values: dict[str, object] = {"tables": (CLOUD_TABLE,), **more}
    return OverlayAnswer("cloud", NOW, nodes or (v1(),), **values)  # type: ignore[arg-type]


def fleet(the_edge: OverlayAnswer | None = None, the_cloud: OverlayAnswer | None = None) -> Fleet:
    """Both clusters, as they answered a second ago."""
    answers = (the_edge or edge(), the_cloud or cloud())
    return Fleet({each.cluster: Known(each.cluster, NOW - 1, each) for each in answers})
