"""What an agent tells of its overlay, over a real bus, and how often."""

from __future__ import annotations

from dataclasses import replace

from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable, TablesDocument
from oakctl.model.overlay_report import LOOPBACK, OverlayReport, PathReport, SeenPeer, TableInForce
from oakctl.model.service import ServiceAddresses
from oakctl.orchestration.worker import overlay_reporter
from tests.bus_fixture import Bus
from tests.worker.stage import WORKER, AgentProcess, Orchestrator, until

TOLD = OverlayReport(
    *("w1", "agent", 1, 100.0, "kernel", "full"),
    paths=(PathReport("w2", "edge", "direct", "why", 1.0, "192.0.2.1:1", "", 5, 1, 9.0, 8.0),),
    seen=(SeenPeer("w2", "edge", "192.0.2.1:1", 8.0),),
)


def test_measures_alone_are_no_news_until_some_time_has_passed() -> None:
    (path,), (seen,) = TOLD.paths, TOLD.seen
    measured = replace(path, round_trip_ms=9.0, sent=50, lost=3, handshake_at=99.0)
    later = replace(seen, handshake_at=99.0)
    same = replace(TOLD, seq=2, sent_at=102.0, paths=(measured,), seen=(later,))
    for clock in (102.0, 100.0 - 86400.0, 100.0 + 86400.0):  # which may have been set
        now = replace(same, sent_at=clock)
        assert not overlay_reporter.is_due(TOLD, now, 2.0)
        assert overlay_reporter.is_due(TOLD, now, 10.0)
    many = replace(TOLD, paths=TOLD.paths * 400)
    assert not overlay_reporter.is_due(many, many, 90.0)
    assert overlay_reporter.is_due(many, many, 100.0)
    for news in (
        replace(same, paths=(replace(path, kind="relayed"),)),
        replace(same, seen=(replace(seen, endpoint="192.0.2.1:2"),)),
        replace(same, problems=("one",)),
    ):
        assert overlay_reporter.is_due(TOLD, news, 2.0)


async def test_the_cluster_hears_of_tables_in_force_and_again_after_the_bus_was_away(
    agent: AgentProcess, orchestrator: Orchestrator, bus: Bus
) -> None:
    agent.start()
    await until(lambda: orchestrator.overlays, "a first report")
    first = orchestrator.overlays[0]
    assert (first.worker, first.driver, first.mode) == (WORKER, "loopback", LOOPBACK)
    assert first.tables == first.paths == ()
    table = ServiceTable("a.b.c.d", "edge", 7, ServiceAddresses(), (), ())
    document = TablesDocument(WORKER, 5, (table,))
    await orchestrator.client.publish(
        subjects.command(WORKER, subjects.CMD_TABLES), wire.encode(document)
    )
    await until(lambda: orchestrator.overlays[-1].tables, "the table in force")
    last = orchestrator.overlays[-1]
    assert last.tables == (TableInForce("a.b.c.d", "edge", 7),)
    assert last.tables_revision == 5
    assert last.tables_at >= first.sent_at
    assert [each.seq for each in orchestrator.overlays] == [
        first.seq + n for n in range(len(orchestrator.overlays))
    ]
    bus.stop()
    bus.start()
    count = len(orchestrator.overlays)
    await until(lambda: len(orchestrator.overlays) > count, "a report on the new bus")
    assert orchestrator.overlays[-1].agent_id == first.agent_id
