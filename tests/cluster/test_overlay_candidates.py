"""Where nodes of a cluster may be tried directly: what is told, and that all hear of it."""

from __future__ import annotations

from dataclasses import replace

from oakctl.model import subjects, wire
from oakctl.model.overlay import LAN, SEEN, Candidate, OverlayNode
from oakctl.model.overlay_report import FULL, OverlayReport, SeenPeer
from oakctl.orchestration.cluster.overlay_candidates import MOST_OF_OWN, found
from tests.cluster.rig import Rig, facts, until

HUB = OverlayNode("hub", "edge", "10.18.0.0/26", "k1", "192.0.2.1:51820", relay=True)
HOME = OverlayNode("home", "edge", "10.18.0.64/26", "k2")
OFFICE = OverlayNode("office", "edge", "10.18.0.128/26", "k3")


def report(worker: str, *seen: SeenPeer, listens: tuple[str, ...] = ()) -> OverlayReport:
    return OverlayReport(worker, "agent", 1, 1.0, "kernel", FULL, seen=seen, listens=listens)


def test_a_node_says_where_it_listens_and_the_relay_alone_where_it_is_seen() -> None:
    reports = {
        "hub": report("hub", SeenPeer("home", "edge", "198.51.100.7:4711"),
                      SeenPeer("home", "cloud", "192.0.2.9:1"),
                      SeenPeer("gone", "edge", "192.0.2.8:1")),
        "home": report("home", listens=("192.168.1.5:51820", "x" * 9999, ":1")),
        "office": report("office", SeenPeer("home", "edge", "203.0.113.9:1"),
                         listens=tuple(f"10.0.0.{n}:51820" for n in range(9))),
    }  # fmt: skip
    candidates = found((HUB, HOME, OFFICE), reports)
    assert candidates["home"] == (
        Candidate(LAN, "192.168.1.5:51820"),
        Candidate(SEEN, "198.51.100.7:4711"),
    )
    assert len(candidates["office"]) == MOST_OF_OWN
    assert "hub" not in candidates
    assert found((HUB, HOME, OFFICE), {}) == {}


async def test_what_the_relay_sees_reaches_all_nodes(rig: Rig) -> None:
    hub = await rig.join("hub", replace(facts(), tunnel_key="k1", address="192.0.2.1", relay=True))
    home = await rig.join("home", replace(facts(loopback=4), tunnel_key="k2"))
    told = report("hub", SeenPeer("home", "edge", "198.51.100.7:4711"))

    async def tell(message: OverlayReport) -> None:
        await hub.client.publish(
            subjects.observed("hub", subjects.OBS_OVERLAY), wire.encode(message)
        )

    def candidates() -> tuple[Candidate, ...]:
        nodes = {node.worker: node for node in home.tables.nodes}
        return nodes["home"].candidates if "home" in nodes else ()

    await tell(told)
    await until("home to hear where it is seen", candidates)
    assert candidates() == (Candidate(SEEN, "198.51.100.7:4711"),)
    moved = replace(told, seq=2, seen=(SeenPeer("home", "edge", "198.51.100.7:1024"),))
    await tell(moved)
    await until("the new port", lambda: candidates() == (Candidate(SEEN, "198.51.100.7:1024"),))
    # A new orchestrator knows it again as soon as it is told.
    rig.end_orchestrator()
    rig.start_orchestrator()
    await until("documents of the new one", lambda: candidates() == ())
    await tell(replace(moved, seq=3))
    await until("the port again", lambda: candidates() == (Candidate(SEEN, "198.51.100.7:1024"),))
