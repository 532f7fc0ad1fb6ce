"""Which of a worker's reports of its overlay counts."""

from __future__ import annotations

from oakctl.model import wire
from oakctl.model.overlay import SEEN, Candidate, OverlayNode
from oakctl.model.overlay_report import (
    DIRECT,
    FULL,
    OverlayReport,
    PathReport,
    SeenPeer,
    TableInForce,
)
from oakctl.orchestration.cluster.overlay_reports import OverlayReports


def report(worker: str = "a", seq: int = 1, agent: str = "x", at: float = 1.0) -> OverlayReport:
    return OverlayReport(worker, agent, seq, at, "kernel", FULL)


def test_the_newest_counts_and_goes_with_its_worker() -> None:
    workers = {"a", "b"}
    news: list[None] = []
    kept = OverlayReports(lambda: workers, lambda: news.append(None))
    first, second = report(seq=1), report(seq=2, at=0.5)
    assert kept.take(second)
    assert not kept.take(first)
    assert not kept.take(second)
    assert not kept.take(report("stranger"))
    assert kept.of("a") is second
    assert len(news) == 1
    # A new agent begins to count anew, also where the clock was set back meanwhile.
    fresh = report(seq=1, agent="y", at=-86400.0)
    assert kept.take(fresh)
    assert not kept.take(report(seq=9, agent="x", at=2.0))
    assert kept.take(other := report("b"))
    assert kept.all() == (fresh, other)
    workers.discard("a")
    assert kept.of("a") is None
    assert kept.all() == (other,)


def test_it_travels_whole_and_an_older_node_has_no_candidates() -> None:
    whole = OverlayReport(
        *("a", "x", 1, 2.0, "kernel", FULL, "", ("a problem",), "wireguard-go"),
        paths=(PathReport("b", "edge", DIRECT, "proven", 1.5, "192.0.2.1:51820", "", 9, 1, 1.0),),
        tables=(TableInForce("ar.ns.rec.ns", "edge", 7),),
        seen=(SeenPeer("b", "edge", "192.0.2.1:4711", 1.0),),
        listens=("10.0.0.1:51820",),
    )
    assert wire.decode(wire.encode(whole), OverlayReport) == whole
    node = OverlayNode("b", "edge", "10.18.0.0/26", "key", "", False, (Candidate(SEEN, "e"),))
    assert wire.from_plain(wire.to_plain(node), OverlayNode) == node
    older = {k: v for k, v in wire.to_plain(node).items() if k != "candidates"}
    assert wire.from_plain(older, OverlayNode).candidates == ()
