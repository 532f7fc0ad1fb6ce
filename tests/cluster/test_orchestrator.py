"""The orchestrator from outside: what root and workers see of it over the real bus."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import pytest
from nats.errors import Error as NatsError

from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.documents import (
    DesiredDocument,
    Report,
    ServiceTable,
    StatisticsReport,
    TablesDocument,
    TableTarget,
)
from oakctl.model.instance import InstanceState, InstanceStatistics, ObservedInstance
from oakctl.model.service import ServiceAddresses
from oakctl.orchestration.bus import ask
from oakctl.orchestration.cluster.epochs import root_epoch
from tests.bus_fixture import hashed
from tests.cluster.rig import Rig, facts, spec, until

S = InstanceState


async def test_an_instance_from_offer_to_running_and_gone(rig: Rig) -> None:
    worker = await rig.join("w1")
    web = spec(rr_ip="10.30.1.1")
    (place,) = await rig.deployed(web)
    assert place.worker == "w1"
    assert root_epoch(place.observed.epoch) == 1
    wanted = worker.desired.instances[0]
    assert wanted.address.startswith("10.18.0.")
    await until("its table reaches its worker", lambda: (worker.table(web) or web) is not web)
    await until("it is a target", lambda: worker.table(web).targets)
    await until("its share is told", lambda: rig.root.state.shares == {web.job_name: 1})  # type: ignore[union-attr]
    assert rig.root.state.aggregate.workers == 1
    assert set(rig.root.state.processes) == {"bus", "orchestrator"}
    assert (await rig.root.share(web, 2, {}, gone=True)).ok
    await until("it is gone", lambda: rig.root.place(web) is None)
    assert not worker.instances
    name = f"{web.job_name}.instance.0"
    await until("its end is told", lambda: "instance.undeployed" in rig.root.kinds(name))
    kinds = rig.root.kinds(name)
    assert kinds[0] == "instance.node_scheduled"
    assert "instance.running" in kinds
    assert "instance.ready" in kinds


async def test_offers_are_idempotent_and_reserve(rig: Rig) -> None:
    await rig.join("w1", facts(memory_mb=100))
    big = spec("big", memory_mb=60)
    first = await rig.root.offer(big, 0, epoch=3)
    assert first.accepted
    again = await rig.root.offer(big, 0, epoch=3)
    assert again.accepted
    assert again.worker == first.worker == "w1"
    late = await rig.root.offer(big, 0, epoch=2)
    assert not late.accepted
    assert "late" in late.reason
    second = await rig.root.offer(big, 1, epoch=1)
    assert not second.accepted
    assert second.verdicts[0].candidate == "w1"
    assert "memory" in second.verdicts[0].reasons[0]
    state = await rig.root.full_state()
    assert len(state.instances) == 1
    assert state.workers[0].reserved.memory_mb == 60


async def test_explain_reserves_nothing(rig: Rig) -> None:
    await rig.join("w1")
    web = spec()
    asked = m.Offer(web, 0, 0, 0.0)
    given = await rig.root.ask(subjects.CTL_EXPLAIN, asked, m.OfferAnswer)
    assert given.worker == "w1"
    assert not (await rig.root.full_state()).instances
    gpu = m.Offer(spec(vgpus=1), 0, 0, 0.0)
    refused = await rig.root.ask(subjects.CTL_EXPLAIN, gpu, m.OfferAnswer)
    assert not refused.accepted
    assert "vgpus" in refused.verdicts[0].reasons[0]


async def test_a_lower_revision_of_a_share_is_late(rig: Rig) -> None:
    await rig.join("w1")
    web = spec()
    await rig.deployed(web, 2)
    assert (await rig.root.share(web, 5, {0: 1})).ok
    late = await rig.root.share(web, 4, {0: 1, 1: 1})
    assert not late.ok
    assert "5 is in force" in late.error
    await until("instance 1 is gone", lambda: rig.root.place(web, 1) is None)
    assert rig.root.is_running(web, 0)
    assert (await rig.root.share(web, 6, {}, gone=True)).ok
    await until("all is gone", lambda: rig.root.place(web, 0) is None)
    assert not (await rig.root.share(web, 5, {0: 1})).ok
    for number in (0, 1):
        offer = await rig.root.offer(web, number, epoch=1)
        assert not offer.accepted
        assert "ended" in offer.reason
    assert (await rig.root.offer(web, 0, epoch=2)).accepted


@pytest.mark.slow
async def test_a_dead_workers_instances_are_placed_anew_and_it_is_told_to_stop_them(
    rig: Rig,
) -> None:
    first = await rig.join("w1")
    web = spec()
    (before,) = await rig.deployed(web)
    second = await rig.join("w2")
    kept = dict(first.instances)
    await first.vanish()
    await until("suspected", lambda: rig.root.worker("w1").status == "suspect")  # type: ignore[union-attr]
    await until("given up", lambda: rig.root.worker("w1").status == "dead")  # type: ignore[union-attr]
    await until("placed anew", lambda: second.instances)
    # The state that shows it comes after the document that brings it about.
    await until("it runs on w2", lambda: _runs_on(rig, web, "w2"))
    after = await rig.running(web)
    assert after.observed.epoch > before.observed.epoch
    assert root_epoch(after.observed.epoch) == root_epoch(before.observed.epoch)
    name = f"{web.job_name}.instance.0"
    await until("told", lambda: "instance.lost" in rig.root.kinds(name))
    assert "worker.dead" in rig.root.kinds("w1")

    returned = await rig.join("w1")
    returned.instances = kept  # what still runs there is found again
    returned.changed()
    await until("it has read its document", lambda: returned.desired.revision)
    returned.apply()
    assert not returned.instances
    await asyncio.wait_for(_acknowledged(returned), 20)
    place = rig.root.is_running(web)
    assert place is not None
    assert place.worker == "w2"


@pytest.mark.slow
async def test_without_another_place_a_lost_instance_waits_and_comes_back_with_its_worker(
    rig: Rig,
) -> None:
    first = await rig.join("w1")
    web = spec()
    await rig.deployed(web)
    kept = dict(first.instances)
    await first.vanish()
    place = await until("it is lost", lambda: _in_state(rig, web, S.LOST))
    assert "w1 is dead" in place.observed.reason
    returned = await rig.join("w1")
    returned.instances = kept
    returned.changed()
    await rig.running(web)
    await until("it is told what it shall run", lambda: returned.desired.instances)
    assert returned.desired.instances[0].epoch == place.observed.epoch


@pytest.mark.slow
async def test_a_new_worker_takes_what_waits(rig: Rig) -> None:
    first = await rig.join("w1")
    web = spec(memory_mb=400)
    await rig.deployed(web)
    await first.vanish()
    await until("it is lost", lambda: _in_state(rig, web, S.LOST))
    await rig.join("w2")
    assert (await rig.running(web)).worker == "w2"


@pytest.mark.slow
async def test_an_instance_that_does_not_get_on_is_placed_elsewhere(rig: Rig) -> None:
    deaf = await rig.join("w1")
    deaf.obeys = False
    web = spec()
    assert (await rig.root.offer(web)).worker == "w1"
    assert (await rig.root.share(web, 1, {0: 1})).ok
    await rig.join("w2")
    place = await rig.running(web)
    assert place.worker == "w2"
    name = f"{web.job_name}.instance.0"
    reasons = [e.reason for e in rig.root.events if e.subject == name]
    assert any("no first sign from w1" in reason for reason in reasons)


async def test_a_cordoned_worker_takes_nothing_new(rig: Rig) -> None:
    await rig.join("w1")
    cordon = m.WorkerChange("w1", cordoned=True)
    assert (await rig.root.ask(subjects.CTL_WORKER, cordon, m.Answer)).ok
    refused = await rig.root.offer(spec())
    assert "cordoned" in refused.verdicts[0].reasons[0]
    back = m.WorkerChange("w1", cordoned=False)
    assert (await rig.root.ask(subjects.CTL_WORKER, back, m.Answer)).ok
    assert (await rig.root.offer(spec())).accepted
    unknown = m.WorkerChange("w9", cordoned=True)
    assert not (await rig.root.ask(subjects.CTL_WORKER, unknown, m.Answer)).ok


async def test_a_removed_worker_is_cut_off_and_its_instances_move(rig: Rig) -> None:
    first = await rig.join("w1")
    web = spec()
    await rig.deployed(web)
    await rig.join("w2")
    removal = m.WorkerChange("w1", remove=True)
    assert (await rig.root.ask(subjects.CTL_WORKER, removal, m.Answer)).ok
    assert (await rig.root.ask(subjects.CTL_WORKER, removal, m.Answer)).ok  # again: nothing to do
    await until("w1 is cut off", lambda: not first.client.is_connected)
    await until("it runs on w2", lambda: _runs_on(rig, web, "w2"))
    await until("it is not listed", lambda: rig.root.worker("w1") is None)


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_drained_worker_stops_what_it_has_and_keeps_its_credential(
    rig: Rig, elsewhere: bool
) -> None:
    first = await rig.join("w1")
    web = spec()
    await rig.deployed(web)
    if elsewhere:
        await rig.join("w2")
    drain = m.WorkerChange("w1", drain=True)
    assert (await rig.root.ask(subjects.CTL_WORKER, drain, m.Answer)).ok
    rig.root.adopt(await rig.root.full_state())
    await until("w1 says that it has nothing", lambda: _is_empty(rig, "w1"))
    assert first.instances == {}
    assert first.client.is_connected
    if elsewhere:
        assert (await rig.running(web)).worker == "w2"
    else:
        place = rig.root.place(web)
        assert place is not None
        assert place.worker == ""
        assert "w1: worker is cordoned" in place.observed.reason


async def test_enrolment_is_idempotent_and_refuses_what_it_must(rig: Rig) -> None:
    value = hashed("secret")
    for _ in range(2):
        enrolment = m.Enrolment("w1", value)
        assert (await rig.root.ask(subjects.CTL_ENROL, enrolment, m.Answer)).ok
    assert rig.root.state is not None
    for name, bcrypt_hash in (("root", value), ("a.b", value), ("w2", "secret")):
        bad = m.Enrolment(name, bcrypt_hash)
        assert not (await rig.root.ask(subjects.CTL_ENROL, bad, m.Answer)).ok
    workers = (await rig.root.full_state()).workers
    assert [(w.name, w.status) for w in workers] == [("w1", "never-seen")]
    assert workers[0].subnet == "10.18.0.0/26"


async def test_a_worker_gets_answers_in_its_own_inbox_only(rig: Rig) -> None:
    first, second = await rig.join("w1"), await rig.join("w2")
    web = spec()
    await rig.deployed(web)
    await until("w2 has its first document", lambda: second.desired.revision)
    before = second.desired
    body = wire.encode(m.DocumentRequest("w1", 0))
    for reply in ("cmd.w2.desired", "_INBOX_w2.x", "_INBOX_w1x.y", "$KV.instances.x", "hb.w2"):
        await first.client.publish("ask.w1.desired", body, reply=reply)
    # Another's documents under one's own subject.
    with pytest.raises(NatsError):
        await ask(
            first.client, "ask.w1.desired", m.DocumentRequest("w2", 0), m.Answer, timeout_s=0.5
        )  # fmt: skip
    own = await first.ask("ask.w1.desired", m.DocumentRequest("w1", 0), DesiredDocument)
    assert own.worker == "w1"
    assert second.desired is before
    current = await first.client.request(
        "ask.w1.desired", wire.encode(m.DocumentRequest("w1", own.revision)), timeout=5
    )
    assert current.data == b""
    assert "not given" in rig.log()


async def test_a_worker_can_not_speak_of_anothers_instances(rig: Rig) -> None:
    workers = [await rig.join("w1"), await rig.join("w2")]
    web = spec()
    (place,) = await rig.deployed(web)
    other = next(w for w in workers if w.name != place.worker)
    other.instances[web.job_name, 0] = ObservedInstance(
        web.job_name, 0, place.observed.epoch, S.FAILED, 0.0
    )
    other.changed()
    await asyncio.wait_for(_acknowledged(other), 20)
    assert rig.root.is_running(web)
    state = await rig.root.full_state()
    assert [p.observed.state for p in state.instances] == [S.RUNNING]


async def test_late_reports_are_ignored(rig: Rig) -> None:
    worker = await rig.join("w1")
    web = spec()
    (place,) = await rig.deployed(web)
    subject = subjects.observed("w1", subjects.OBS_REPORT)
    failed = ObservedInstance(web.job_name, 0, place.observed.epoch, S.FAILED, 0.0)
    for agent, seq in ((worker.agent_id, 0), ("another", 99)):
        late = Report("w1", agent, seq, 0.0, 0, (failed,))
        with pytest.raises((NatsError, asyncio.TimeoutError)):
            await ask(worker.client, subject, late, m.ReportAnswer, timeout_s=0.5)
    earlier = Report("w1", worker.agent_id, worker.seq + 1, 0.0, worker.desired.revision, (
        ObservedInstance(web.job_name, 0, place.observed.epoch - 1, S.RUNNING, 0.0, ready=True),
    ))  # fmt: skip
    assert (await ask(worker.client, subject, earlier, m.ReportAnswer, timeout_s=5)).seq
    state = await rig.root.full_state()
    assert state.instances[0].observed.state == S.NODE_SCHEDULED


async def test_what_a_worker_takes_down_unasked_is_placed_anew(rig: Rig) -> None:
    worker = await rig.join("w1")
    web = spec()
    (place,) = await rig.deployed(web)
    seen = worker.instances[web.job_name, 0]
    worker.instances[web.job_name, 0] = replace(seen, state=S.UNDEPLOYED, ready=False)
    worker.changed()
    await until(
        "another placement runs",
        lambda: (
            rig.root.is_running(web) and rig.root.place(web).observed.epoch > place.observed.epoch
        ),  # type: ignore[union-attr]
    )


async def test_tables_go_to_those_who_need_them(rig: Rig) -> None:
    one = await rig.join("w1", facts(vgpus=1, loopback=2))
    two = await rig.join("w2", facts(loopback=4, memory_mb=64))
    rec = spec("rec", vgpus=1, rr_ip="10.30.1.3")
    obj = spec("obj", memory_mb=60, talks_to=("rec",), rr_ip="10.30.1.2")
    await rig.deployed(rec)
    await rig.deployed(obj)
    assert rig.root.is_running(rec).worker == "w1"  # type: ignore[union-attr]
    assert rig.root.is_running(obj).worker == "w2"  # type: ignore[union-attr]
    table = await until("w2 knows rec", lambda: two.table(rec))
    assert table.addresses.rr_ip == "10.30.1.3"
    assert [t.worker for t in table.targets] == ["w1"]
    assert table.targets[0].loopback_number == 2
    await until("w1 knows rec", lambda: one.table(rec))
    assert one.table(obj) is None
    wanted = two.desired.instances[0]
    assert wanted.reach["OAKCTL_ADDR_REC"] == "10.30.1.3"

    foreign = ServiceTable(
        rec.job_name, "cloud", 7, ServiceAddresses("10.30.1.3"),
        targets=(TableTarget(5, "10.18.16.2", "x1", "cloud", "127.8.0.1"),),
    )  # fmt: skip
    assert (await rig.root.ask(subjects.CTL_TABLE, foreign, m.Answer)).ok
    old = ServiceTable(rec.job_name, "cloud", 6, ServiceAddresses())
    assert (await rig.root.ask(subjects.CTL_TABLE, old, m.Answer)).ok
    await until("w2 knows both", lambda: len(two.tables.tables) == 3)
    assert foreign in two.tables.tables
    own = ServiceTable(rec.job_name, "edge", 9, ServiceAddresses())
    assert not (await rig.root.ask(subjects.CTL_TABLE, own, m.Answer)).ok

    generation = two.table(rec).generation
    one.instances[rec.job_name, 0] = _not_ready(one.instances[rec.job_name, 0])
    one.changed()
    emptied = await until("rec has no target", lambda: _emptied(two.tables, rec.job_name))
    assert emptied.generation > generation


async def test_settings_are_checked_and_kept(rig: Rig) -> None:
    assert (await rig.root.ask(subjects.CTL_SETTINGS, m.Settings("spread"), m.Answer)).ok
    refused = await rig.root.ask(subjects.CTL_SETTINGS, m.Settings("fastest"), m.Answer)
    assert "rom" in refused.error
    rig.end_orchestrator(signal.SIGKILL)
    rig.start_orchestrator()
    assert (await rig.root.full_state()).aggregate.policy == "spread"


async def test_logs_come_from_the_worker(rig: Rig) -> None:
    await rig.join("w1")
    web = spec()
    await rig.deployed(web)
    name = f"{web.job_name}.instance.0"
    given = await rig.root.ask(subjects.CTL_LOGS, m.LogsRequest(name, -100), m.LogsAnswer)
    assert given.data == f"log of {name}"
    for unknown in ("nonsense", f"{web.job_name}.instance.7"):
        asked = m.LogsRequest(unknown, 0)
        assert (await rig.root.ask(subjects.CTL_LOGS, asked, m.LogsAnswer)).error


async def test_statistics_go_up_for_ones_own_instances(rig: Rig) -> None:
    worker = await rig.join("w1")
    web = spec()
    await rig.deployed(web)
    told = StatisticsReport("w1", 1, 0.0, (
        InstanceStatistics(web.job_name, 0, 1.0, cpu_percent=5.0, metrics={"fps": 12.0}),
        InstanceStatistics("other.ns.svc.ns", 0, 1.0),
    ))  # fmt: skip
    subject = subjects.observed("w1", subjects.OBS_STATISTICS)
    await worker.client.publish(subject, wire.encode(told))
    (report,) = await until("statistics", lambda: rig.root.statistics)
    assert [s.metrics for s in report.instances] == [{"fps": 12.0}]


async def test_malformed_requests_are_refused_in_words(rig: Rig) -> None:
    for subject, kind in (
        (subjects.CTL_OFFER, m.OfferAnswer),
        (subjects.CTL_SHARE, m.Answer),
        (subjects.CTL_UPLOAD, m.UploadAnswer),
    ):
        answer = await rig.root.ask(subject, b"{", kind)
        text = getattr(answer, "reason", "") or getattr(answer, "error", "")
        assert "not a" in text


async def test_events_wait_for_a_root_that_is_away(rig: Rig) -> None:
    rig.root.answers_events = False
    await rig.join("w1")
    rig.end_orchestrator(signal.SIGKILL)
    rig.start_orchestrator()
    rig.root.answers_events = True
    await until("the old event arrives", lambda: "worker.enrolled" in rig.root.kinds("w1"))
    await until("and the greeting", lambda: "worker.greeted" in rig.root.kinds("w1"))
    ids = [event.event_id for event in rig.root.events]
    assert len(ids) == len(set(ids))


async def test_it_ends_cleanly_and_only_one_runs(rig: Rig) -> None:
    first = rig.process
    rig.start_orchestrator()
    assert rig.process is not None
    assert rig.process.wait(timeout=20) == 6
    rig.process = first
    assert rig.end_orchestrator() == 0


async def test_documents_are_found_again_after_a_restart(rig: Rig) -> None:
    worker = await rig.join("w1")
    web = spec(rr_ip="10.30.1.1")
    await rig.deployed(web)
    before, table = worker.desired, await until("a table", lambda: worker.table(web))
    pids = {k: o.since for k, o in worker.instances.items()}
    rig.end_orchestrator(signal.SIGKILL)
    rig.start_orchestrator()
    await until("pushed anew", lambda: worker.desired.revision > before.revision)
    assert worker.desired.instances == before.instances
    tables = await worker.ask("ask.w1.tables", m.DocumentRequest("w1", 0), TablesDocument)
    assert tables.tables[0].generation > table.generation
    await rig.running(web)
    assert {k: o.since for k, o in worker.instances.items()} == pids
    assert "instance.lost" not in rig.root.kinds()


async def _acknowledged(worker: object) -> None:
    await until("acknowledged", lambda: worker.acknowledged >= worker.seq)  # type: ignore[attr-defined]


def _runs_on(rig: Rig, service: object, worker: str) -> bool:
    place = rig.root.is_running(service)  # type: ignore[arg-type]
    return place is not None and place.worker == worker


def _in_state(rig: Rig, service: object, state: InstanceState) -> m.InstancePlace | None:
    place = rig.root.place(service)  # type: ignore[arg-type]
    return place if place is not None and place.observed.state == state else None


def _not_ready(observed: ObservedInstance) -> ObservedInstance:
    return ObservedInstance(
        observed.job_name, observed.number, observed.epoch, S.RUNNING, observed.since
    )


def _emptied(document: TablesDocument, job_name: str) -> ServiceTable | None:
    for table in document.tables:
        if (table.job_name, table.cluster) == (job_name, "edge") and not table.targets:
            return table
    return None


def _is_empty(rig: Rig, name: str) -> bool:
    summary = rig.root.worker(name)
    return summary is not None and summary.is_current and summary.holds == 0
