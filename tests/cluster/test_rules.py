"""The rules by themselves: any order of messages and of time keeps what must hold."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oakctl.model import messages as m
from oakctl.model import wire
from oakctl.model.config import Timers
from oakctl.model.documents import Heartbeat, Report
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.resources import Resources
from oakctl.orchestration.cluster import (
    changes,
    desired,
    epochs,
    liveness,
    membership,
    offers,
    reports,
    revisions,
    shares,
    store,
    sweep,
)
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.liveness import Presence
from oakctl.orchestration.cluster.outbox import DROPPED_AT_ONCE, MOST, Outbox
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.state import Key, SettingsRecord, State
from oakctl.overlay import addressing
from tests.cluster.rig import facts, spec

S = InstanceState
TIMERS = Timers()
WORKERS = ("w1", "w2", "w3")
SERVICES = (spec("a", memory_mb=100), spec("b", memory_mb=150, talks_to=("a",)))
EMPTY = State("edge", SettingsRecord("rom"), addressing.worker_subnets("10.18.0.0/20"))

workers = st.sampled_from(WORKERS)
services = st.sampled_from(SERVICES)
numbers = st.integers(0, 3)


class Cluster(RuleBasedStateMachine):
    """Everything that can happen, in any order, with agents that run what they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Now(1_000_000.0, 0.0)
        self.state = EMPTY
        self.stored: dict[tuple[str, str], bytes] = {}
        self.presences: Mapping[str, Presence] = {}
        self.watches: sweep.Watches = {}
        self.documents = revisions.at_start(self.state, self.now)
        self.epoch = 0
        self.revisions: dict[str, int] = {}
        self.seqs: dict[str, int] = {}
        self.seen_epochs: dict[Key, int] = {}
        self.commit(EMPTY, initially=True)

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.presences)

    def commit(self, after: State, *, initially: bool = False) -> None:
        before, old = self.state, self.documents
        after, self.documents = revisions.settle(after, self.documents)
        changes.between(before, after)
        if initially:
            self.stored = {k: wire.encode(r) for k, r in store.records(after).items()}
        for write in store.difference(before, after):
            if write.value is None:
                self.stored.pop((write.bucket, write.key))
            else:
                self.stored[write.bucket, write.key] = write.value
        self.state = after
        for name, document in self.documents.desired.items():
            known = old.desired.get(name)
            assert known is None or known == document or document.revision > known.revision
        if self.documents.desired or self.documents.own:
            assert self.documents.counter <= self.state.settings.mark

    @rule(worker=workers, memory_mb=st.sampled_from((120, 400)))
    def greet(self, worker: str, memory_mb: int) -> None:
        known = self.state.workers.get(worker)
        its = known.facts if known and known.facts else facts(memory_mb=memory_mb)
        greeting = m.Greeting(worker, "agent", m.PROTOCOL, its)
        after, answer = membership.greet(self.state, greeting, 1.0, self.now)
        assert answer.accepted
        self.commit(after)
        before = self.presences.get(worker)
        self.presences = {**self.presences, worker: liveness.greeted(before, "agent", self.now)}

    @rule(service=services, number=numbers)
    def offer(self, service: object, number: int) -> None:
        self.epoch += 1
        asked = m.Offer(service, number, self.epoch, 0.0)  # type: ignore[arg-type]
        after, answer = offers.offer(self.state, self.fleet, asked, self.now)
        assert answer.accepted or after is self.state
        again = offers.offer(after, self.fleet, asked, self.now)
        if answer.accepted:
            assert again[0] is after
            assert again[1].worker == answer.worker
        self.commit(after)

    @rule(service=services, listed=st.sets(numbers), gone=st.booleans())
    def share(self, service: object, listed: set[int], gone: bool) -> None:
        job: str = service.job_name  # type: ignore[attr-defined]
        self.revisions[job] = self.revisions.get(job, 0) + 1
        known = {n: r for (j, n), r in self.state.instances.items() if j == job}
        self.epoch += 1
        wanted = {
            n: epochs.root_epoch(known[n].epoch) if n in known else self.epoch for n in listed
        }
        share = m.Share(job, self.revisions[job], None if gone else service, wanted)  # type: ignore[arg-type]
        after, answer = shares.share(self.state, self.fleet, share, self.now)
        assert answer.ok
        left = {r.number for r in after.of(job) if not r.stopping}
        assert left == (set() if gone else listed)
        assert shares.share(after, self.fleet, share, self.now)[0] == after
        late = replace(share, revision=share.revision - 1)
        assert shares.share(after, self.fleet, late, self.now)[0] is after
        self.commit(after)

    @rule(
        worker=workers, state=st.sampled_from((S.RUNNING, S.CREATING, S.FAILED)), some=st.booleans()
    )
    def report(self, worker: str, state: InstanceState, some: bool) -> None:
        if worker not in self.state.workers or self.state.workers[worker].facts is None:
            return
        document = self.documents.desired[worker]
        instances = tuple(
            ObservedInstance(
                i.service.job_name, i.number, i.epoch, state, self.now.wall, ready=True
            )
            for i in document.instances[: None if some else 1]
        )
        self.seqs[worker] = self.seqs.get(worker, 0) + 1
        report = Report(worker, "agent", self.seqs[worker], 0.0, document.revision, instances)
        if not reports.is_late(self.state, report):
            others = {r.key: r for r in self.state.instances.values() if r.worker != worker}
            after = reports.merge(self.state, report, document.revision, self.now)
            assert others.items() <= dict(after.instances).items()
            self.commit(after)

    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        if worker not in self.presences:
            return
        revision = self.documents.desired_revision(worker)
        beat = Heartbeat(worker, "agent", int(self.now.mono * 100), 0.0, revision, 0)
        heard = liveness.hear(self.presences[worker], beat, revision, self.now)
        if heard is not None:
            self.presences = {**self.presences, worker: heard}

    @rule(seconds=st.sampled_from((0.5, 3.0, 20.0, 90.0)))
    def time_passes(self, seconds: float) -> None:
        self.now = Now(self.now.wall + seconds, self.now.mono + seconds)

    @rule()
    def look(self) -> None:
        self.presences = liveness.judge(self.presences, TIMERS, self.now)
        after, self.watches = sweep.sweep(self.state, self.fleet, self.watches, TIMERS, self.now)
        self.commit(after)

    @precondition(lambda self: self.state.workers)
    @rule(worker=workers)
    def remove(self, worker: str) -> None:
        if worker in self.state.workers:
            self.presences = {n: p for n, p in self.presences.items() if n != worker}
            self.commit(membership.remove(self.state, self.fleet, worker, self.now))

    @rule()
    def restart(self) -> None:
        contents: dict[str, dict[str, bytes]] = {}
        for (bucket, key), value in self.stored.items():
            contents.setdefault(bucket, {})[key] = value
        restored = store.restored(contents, EMPTY)
        assert restored == self.state
        counter = self.documents.counter
        self.documents = revisions.at_start(restored, Now(0.0, self.now.mono))
        assert self.documents.counter >= counter
        self.presences, self.watches = liveness.at_start(restored, self.now), {}
        before, self.state = self.state, restored
        self.commit(before)

    @invariant()
    def nobody_has_more_than_there_is(self) -> None:
        for name, worker in self.state.workers.items():
            total = Resources()
            for record in self.state.on(name):
                wanted = self.state.spec(record.job_name)
                assert wanted is not None
                total = total + wanted.requests
            if worker.facts is not None:
                assert not total.shortfalls(worker.facts.capacity)

    @invariant()
    def addresses_are_ones_own(self) -> None:
        addresses = [r.address for r in self.state.instances.values() if r.worker]
        assert len(addresses) == len(set(addresses))
        for record in self.state.instances.values():
            if record.worker:
                subnet = ipaddress.ip_network(self.state.workers[record.worker].subnet)
                assert ipaddress.ip_address(record.address) in subnet
        subnets = [w.subnet for w in self.state.workers.values()]
        assert len(subnets) == len(set(subnets))

    @invariant()
    def epochs_only_grow(self) -> None:
        for key, record in self.state.instances.items():
            assert record.epoch >= self.seen_epochs.get(key, 0)
            self.seen_epochs[key] = record.epoch

    @invariant()
    def documents_say_what_the_state_says(self) -> None:
        for name, document in self.documents.desired.items():
            assert document == desired.document(self.state, name, document.revision)


Cluster.TestCase.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestCluster = Cluster.TestCase


def test_epochs_keep_the_order_of_placements() -> None:
    epoch: int | None = epochs.first(3)
    last = epochs.first(3) - 1
    while epoch is not None:
        assert epoch > last
        assert epochs.root_epoch(epoch) == 3
        last, epoch = epoch, epochs.successor(epoch)
    assert last == epochs.first(4) - 1


@pytest.mark.parametrize(
    ("silence", "status"), [(1.9, "ready"), (2.0, "suspect"), (3.9, "suspect"), (4.0, "dead")]
)
def test_silence_is_judged(silence: float, status: str) -> None:
    presences = {"w1": Presence(heard=0.0, status=liveness.READY)}
    assert liveness.judge(presences, TIMERS, Now(0, silence))["w1"].status == status


def test_a_dead_worker_stays_dead_until_it_is_heard() -> None:
    dead = liveness.judge({"w1": Presence(0.0, liveness.READY)}, TIMERS, Now(0, 9.0))
    excused = liveness.excuse(dead, Now(0, 9.0))
    assert liveness.judge(excused, TIMERS, Now(0, 9.1))["w1"].status == liveness.DEAD
    beat = Heartbeat("w1", "agent", 1, 0.0, 0, 0)
    heard = liveness.hear(dead["w1"], beat, 0, Now(0, 9.2))
    assert heard is not None
    assert heard.status == liveness.READY
    assert liveness.hear(heard, beat, 0, Now(0, 9.3)) is None  # late


def test_time_without_a_bus_is_nobodys_silence() -> None:
    presences = {"w1": Presence(0.0, liveness.READY)}
    excused = liveness.excuse(presences, Now(0, 100.0))
    assert liveness.judge(excused, TIMERS, Now(0, 101.0))["w1"].status == liveness.READY


def test_a_lost_connection_is_suspect_at_once() -> None:
    assert liveness.disconnected(Presence(0.0, liveness.READY)).status == liveness.SUSPECT
    assert liveness.disconnected(Presence(0.0, liveness.DEAD)).status == liveness.DEAD


def test_the_outbox_is_bounded_and_says_what_it_dropped() -> None:
    outbox = Outbox("edge", {}, Now(1.0, 0.0))
    stored: dict[str, bytes] = {}
    for number in range(MOST + 1):
        change = changes.Change("instance.ready", f"i{number}", "ready")
        for write in outbox.add((change,), Now(1.0, 0.0)):
            if write.value is None:
                del stored[write.key]
            else:
                stored[write.key] = write.value
    assert len(outbox) == MOST + 2 - DROPPED_AT_ONCE
    again = Outbox("edge", stored, Now(0.0, 0.0))
    assert again.records() == outbox.records()
    newest = wire.decode(stored[max(stored)], m.ClusterEvent)
    assert newest.kind == "events.dropped"
    assert str(DROPPED_AT_ONCE) in newest.message
    (write,) = again.add((changes.Change("worker.dead", "w1", "dead"),), Now(0.0, 0.0))
    assert write.key > max(stored)


def test_an_unknown_protocol_is_refused_in_words() -> None:
    greeting = m.Greeting("w1", "agent", 7, facts())
    after, answer = membership.greet(EMPTY, greeting, 1.0, Now(0, 0))
    assert after is EMPTY
    assert "protocol 7" in answer.reason


def test_keys_hold_any_name() -> None:
    assert store.key("app.ns.svc.ns") == "app.ns.svc.ns"
    assert store.key("a b*>ü") == "a=20b=2A=3E=C3=BC"
