"""The decision alone, against clusters that lose messages, forget to answer and go away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oakctl.model.messages import Verdict
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.delegation import (
    LOST_OFFER_S,
    Attempt,
    Effect,
    ForgetService,
    GiveUp,
    Gone,
    Key,
    OfferTo,
    Phase,
    Picture,
    RaiseShare,
    Row,
    Seat,
    SendShare,
    Service,
    ShareRow,
    Sight,
    Wait,
    backoff,
    plan,
)

JOB = "ar.demo.rec.demo"
SPEC = ServiceSpec(JOB, "ar.demo", "process", "0" * 64)


def in_order(
    spec: ServiceSpec, sights: Iterable[Sight], spread: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
    """Every reachable cluster fits, by name."""
    names = sorted(sight.name for sight in sights if sight.reachable)
    return tuple(names), tuple(Verdict(name, True) for name in names)


def picture(*rows: Row, clusters: Iterable[Sight] = (), **more: object) -> Picture:
    sights = {sight.name: sight for sight in clusters}
    return replace(Picture(rows, (), {JOB: Service(SPEC)}, sights), **more)  # type: ignore[arg-type]


class TestOneInstance:
    def test_is_offered_to_the_best_cluster(self) -> None:
        found = plan(picture(Row(JOB, 0, True), clusters=[Sight("a", True)]), in_order, 0.0)
        assert found == (OfferTo((JOB, 0), "a", verdicts=(Verdict("a", True),)),)

    def test_goes_on_to_the_next_when_refused(self) -> None:
        sights = [Sight("a", True), Sight("b", True)]
        attempts = {(JOB, 0): Attempt({"a": "no worker fits"})}
        view = picture(Row(JOB, 0, True), clusters=sights, attempts=attempts)
        (offer,) = plan(view, in_order, 0.0)
        assert isinstance(offer, OfferTo)
        assert offer.cluster == "b"
        assert offer.verdicts[0] == Verdict("a", False, 0.0, ("no worker fits",))

    def test_waits_with_every_reason_when_all_refused(self) -> None:
        attempts = {(JOB, 0): Attempt({"a": "asks for 1 vgpus, 0 free"}, rounds=2)}
        view = picture(Row(JOB, 0, True), clusters=[Sight("a", True)], attempts=attempts)
        (wait,) = plan(view, in_order, 100.0)
        assert isinstance(wait, Wait)
        assert wait.reason == "a: asks for 1 vgpus, 0 free"
        assert wait.until == 104.0

    def test_is_tried_again_on_capacity_news_or_after_the_back_off(self) -> None:
        waiting = Attempt(waiting=True, rounds=1, retry_at=50.0, capacity=3)
        view = picture(
            Row(JOB, 0, True),
            clusters=[Sight("a", True)],
            attempts={(JOB, 0): waiting},
            capacity=3,
        )
        assert plan(view, in_order, 49.0) == ()
        assert isinstance(plan(view, in_order, 50.0)[0], OfferTo)
        assert isinstance(plan(replace(view, capacity=4), in_order, 49.0)[0], OfferTo)

    def test_is_not_offered_twice_while_an_offer_is_under_way(self) -> None:
        view = picture(Row(JOB, 0, True), clusters=[Sight("a", True)], busy=frozenset({(JOB, 0)}))
        assert plan(view, in_order, 0.0) == ()

    def test_whose_answer_was_lost_is_offered_again_to_the_same_cluster(self) -> None:
        row = Row(JOB, 0, True, Phase.OFFERED, 7, "b")
        view = picture(row, clusters=[Sight("a", True), Sight("b", True)])
        assert plan(view, in_order, 0.0) == (OfferTo((JOB, 0), "b", renew=True),)

    def test_stays_with_an_unreachable_cluster_and_says_so(self) -> None:
        row = Row(JOB, 0, True, Phase.OFFERED, 7, "b")
        view = picture(row, clusters=[Sight("a", True), Sight("b", False, "no tunnel")])
        (wait,) = plan(view, in_order, 0.0)
        assert isinstance(wait, Wait)
        assert "b was offered it" in wait.reason
        assert "no tunnel" in wait.reason

    def test_is_given_up_by_a_cluster_that_is_away_too_long_after_the_offer(self) -> None:
        row = Row(JOB, 0, True, Phase.OFFERED, 7, "b", since=100.0)
        away = Sight("b", False, "no tunnel", last_seen=130.0)
        view = picture(row, clusters=[Sight("a", True), away])
        (wait,) = plan(view, in_order, 130.0 + LOST_OFFER_S - 1)
        assert isinstance(wait, Wait)
        assert plan(view, in_order, 130.0 + LOST_OFFER_S) == (GiveUp((JOB, 0), "b"),)

    def test_is_never_given_up_by_a_cluster_that_can_be_asked(self) -> None:
        row = Row(JOB, 0, True, Phase.OFFERED, 7, "b", since=100.0)
        view = picture(row, clusters=[Sight("b", True, last_seen=101.0)])
        assert plan(view, in_order, 1e6) == (OfferTo((JOB, 0), "b", renew=True),)

    def test_that_the_cluster_has_taken_is_never_given_up(self) -> None:
        row = Row(JOB, 0, True, Phase.PLACED, 7, "b", since=100.0)
        view = picture(row, clusters=[Sight("b", False, "no tunnel", last_seen=101.0)])
        assert plan(view, in_order, 1e6) == ()

    def test_offered_to_a_cluster_that_was_forgotten_is_placed_anew(self) -> None:
        row = Row(JOB, 0, True, Phase.OFFERED, 7, "b", since=100.0)
        view = picture(row, clusters=[Sight("a", True)])
        assert plan(view, in_order, 100.0) == (GiveUp((JOB, 0), "b"),)

    def test_is_free_only_when_its_cluster_shows_it_gone(self) -> None:
        row = Row(JOB, 0, True, Phase.WITHDRAWING, 7, "a")
        share = ShareRow("a", JOB, 4, True)
        there = Sight("a", True, present=frozenset({(JOB, 0)}), in_force={JOB: 4})
        view = picture(row, clusters=[there], shares=(share,))
        assert plan(view, in_order, 0.0) == ()
        late = replace(there, present=frozenset(), in_force={JOB: 3})
        assert plan(picture(row, clusters=[late], shares=(share,)), in_order, 0.0) == (
            SendShare(("a", JOB), 4),
        )
        gone = replace(there, present=frozenset())
        assert plan(picture(row, clusters=[gone], shares=(share,)), in_order, 0.0) == (
            Gone((JOB, 0)),
        )


class TestShares:
    def test_a_share_that_is_not_in_force_is_sent(self) -> None:
        view = picture(
            Row(JOB, 0, True, Phase.PLACED, 1, "a"),
            clusters=[Sight("a", True, present=frozenset({(JOB, 0)}), in_force={JOB: 1})],
            shares=(ShareRow("a", JOB, 2, True),),
        )
        assert plan(view, in_order, 0.0) == (SendShare(("a", JOB), 2),)

    def test_no_share_is_sent_while_an_offer_to_its_seat_is_under_way(self) -> None:
        view = picture(
            Row(JOB, 0, True, Phase.OFFERED, 1, "a"),
            clusters=[Sight("a", True)],
            shares=(ShareRow("a", JOB, 2, True),),
            busy=frozenset({(JOB, 0)}),
        )
        assert plan(view, in_order, 0.0) == ()

    def test_a_cluster_that_knows_a_newer_share_is_told_a_newer_one_still(self) -> None:
        view = picture(
            clusters=[Sight("a", True, in_force={JOB: 9})], shares=(ShareRow("a", JOB, 2, True),)
        )
        assert plan(view, in_order, 0.0) == (RaiseShare(("a", JOB), above=9),)

    def test_what_nobody_gave_to_a_cluster_is_withdrawn(self) -> None:
        sight = Sight("a", True, present=frozenset({(JOB, 3)}))
        view = picture(clusters=[sight])
        assert plan(view, in_order, 0.0) == (RaiseShare(("a", JOB)),)
        again = replace(view, raised_at={("a", JOB): 0.0})
        assert plan(again, in_order, 5.0) == ()

    def test_a_deleted_service_is_forgotten_when_every_cluster_let_go(self) -> None:
        deleting = {JOB: Service(SPEC, deleting=True)}
        share = ShareRow("a", JOB, 5, True)
        asked = picture(clusters=[Sight("a", True)], shares=(share,), services=deleting)
        assert plan(asked, in_order, 0.0) == (SendShare(("a", JOB), 5),)
        confirmed = replace(asked, clusters={"a": Sight("a", True, confirmed={JOB: 5})})
        assert plan(confirmed, in_order, 0.0) == (ForgetService(JOB),)
        away = replace(asked, clusters={"a": Sight("a", False, "no tunnel")})
        assert plan(away, in_order, 0.0) == ()


def test_back_off_doubles_from_one_second_to_thirty() -> None:
    assert [backoff(n) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


@dataclass
class FakeCluster:
    """What a cluster does with offers and shares, in a few lines."""

    name: str
    room: int
    up: bool = True
    instances: dict[Key, int] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)

    def offer(self, key: Key, epoch: int) -> bool:
        if key in self.instances:
            self.instances[key] = max(epoch, self.instances[key])
            return True
        if len(self.instances) >= self.room:
            return False
        self.instances[key] = epoch
        return True

    def share(self, job: str, revision: int, wanted: Mapping[Key, int]) -> None:
        if revision < self.revisions.get(job, 0):
            return
        self.revisions[job] = revision
        kept = {k: e for k, e in self.instances.items() if k[0] != job or k in wanted}
        self.instances = {**kept, **wanted}


class World:
    """Root rows in memory, carried out as the driver does, with faults from hypothesis."""

    def __init__(self, rooms: Mapping[str, int]) -> None:
        self.now = 0.0
        self.clusters = {name: FakeCluster(name, room) for name, room in rooms.items()}
        self.seen: dict[str, Sight] = {}  # the last state that arrived
        for name in self.clusters:
            self.look(name)
        self.rows: dict[Key, Row] = {}
        self.shares: dict[Seat, int] = {}
        self.epochs: dict[Key, int] = {}
        self.attempts: dict[Key, Attempt] = {}
        self.confirmed: dict[Seat, int] = {}
        self.raised_at: dict[Seat, float] = {}
        self.late: list[tuple[str, Key, int]] = []
        self.epochs_given: list[tuple[Key, int]] = []
        self.given_up = 0

    def scale(self, count: int) -> None:
        kept = sorted(number for (_, number), row in self.rows.items() if row.wanted)
        for number in kept[count:]:
            self._withdraw(self.rows[JOB, number])
        missing, number = count - len(kept), 0
        while missing > 0:
            row = self.rows.get((JOB, number), Row(JOB, number, False))
            if not row.wanted:
                self.rows[row.key] = replace(row, wanted=True)
                missing -= 1
            number += 1

    def _withdraw(self, row: Row) -> None:
        if row.phase is Phase.UNPLACED:
            del self.rows[row.key]
            return
        self.rows[row.key] = replace(row, wanted=False, phase=Phase.WITHDRAWING)
        self._raise((row.cluster, row.job_name))

    def _raise(self, seat: Seat, above: int = 0) -> None:
        self.shares[seat] = max(self.shares.get(seat, 0), above) + 1

    def look(self, name: str) -> None:
        """The cluster's newest state arrives."""
        cluster = self.clusters[name]
        present, in_force = frozenset(cluster.instances), dict(cluster.revisions)
        self.seen[name] = Sight(name, True, present=present, in_force=in_force, last_seen=self.now)

    def picture(self) -> Picture:
        sights = {
            name: replace(
                sight,
                reachable=self.clusters[name].up,
                confirmed={j: r for (n, j), r in self.confirmed.items() if n == name},
            )
            for name, sight in self.seen.items()
        }
        return Picture(
            tuple(self.rows.values()),
            tuple(ShareRow(c, j, r, True) for (c, j), r in self.shares.items()),
            {JOB: Service(SPEC)},
            sights,
            attempts=dict(self.attempts),
            raised_at=dict(self.raised_at),
        )

    def rank(
        self, spec: ServiceSpec, sights: Iterable[Sight], spread: Mapping[str, int]
    ) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
        """A preference that changes, as loads do."""
        order, verdicts = in_order(spec, sights, spread)
        return (order[::-1] if int(self.now) % 2 else order), verdicts

    def step(self, lose: str = "") -> None:
        """One pass; `lose` is "request", "answer" or "state": what all messages of it suffer."""
        for effect in plan(self.picture(), self.rank, self.now):
            self._carry_out(effect, "" if lose == "state" else lose)
            self.check()
        self.now += 1
        for name, cluster in self.clusters.items():
            if cluster.up and not lose:
                self.look(name)

    def _carry_out(self, effect: Effect, lose: str) -> None:
        if isinstance(effect, OfferTo):
            self._offer(effect, lose)
        elif isinstance(effect, SendShare):
            if lose != "request":
                wanted = {
                    row.key: row.epoch
                    for row in self.rows.values()
                    if (row.cluster, row.phase) == (effect.seat[0], Phase.PLACED)
                }
                cluster = self.clusters[effect.seat[0]]
                cluster.share(effect.seat[1], self.shares[effect.seat], wanted)
            if not lose:
                self.look(effect.seat[0])
                self.confirmed[effect.seat] = effect.revision
        elif isinstance(effect, RaiseShare):
            self.raised_at[effect.seat] = self.now
            self._raise(effect.seat, effect.above)
        elif isinstance(effect, GiveUp):
            self.given_up += 1
            self._raise((effect.cluster, effect.key[0]))
            self._vacate(self.rows[effect.key])
        elif isinstance(effect, Gone):
            self._vacate(self.rows[effect.key])
        elif isinstance(effect, Wait):
            rounds = self.attempts.get(effect.key, Attempt()).rounds + 1
            self.attempts[effect.key] = Attempt(
                waiting=True, rounds=rounds, retry_at=effect.until, capacity=0
            )

    def _vacate(self, row: Row) -> None:
        if row.wanted:
            self.rows[row.key] = replace(row, phase=Phase.UNPLACED, cluster="")
        else:
            del self.rows[row.key]

    def _offer(self, effect: OfferTo, lose: str) -> None:
        row, key = self.rows[effect.key], effect.key
        if not effect.renew:
            self.epochs[key] = self.epochs.get(key, 0) + 1
            self.epochs_given.append((key, self.epochs[key]))
            row = replace(
                row,
                phase=Phase.OFFERED,
                epoch=self.epochs[key],
                cluster=effect.cluster,
                since=self.now,
            )
            self.rows[key] = row
        if lose == "request":
            self.late.append((effect.cluster, key, row.epoch))
            return
        accepted = self.clusters[effect.cluster].offer(key, row.epoch)
        if lose:
            return
        if accepted:
            self.rows[key] = replace(row, phase=Phase.PLACED)
            self._raise((row.cluster, row.job_name))
            self.attempts.pop(key, None)
        else:
            self._vacate(row)
            old = self.attempts.get(key, Attempt())
            before = {} if old.waiting else old.refused
            self.attempts[key] = Attempt({**before, effect.cluster: "full"}, rounds=old.rounds)

    def deliver_late(self) -> None:
        """A request that was thought lost arrives after all."""
        if self.late:
            cluster, key, epoch = self.late.pop(0)
            self.clusters[cluster].offer(key, epoch)

    def check(self) -> None:
        assert len(self.epochs_given) == len(set(self.epochs_given)), "an epoch was given twice"
        for row in self.rows.values():
            assert (row.phase is Phase.UNPLACED) == (not row.cluster)


FAULTS = st.sampled_from(["", "", "request", "answer", "state"])
ACTIONS = st.one_of(
    st.tuples(st.just("scale"), st.integers(0, 5)),
    st.tuples(st.just("step"), FAULTS),
    st.tuples(st.just("step"), FAULTS),
    st.tuples(st.just("down"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("up"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("late"), st.just(0)),
    st.tuples(st.just("pass"), st.sampled_from([1.0, LOST_OFFER_S])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rooms=st.tuples(st.integers(0, 4), st.integers(0, 4)), actions=st.lists(ACTIONS, max_size=30)
)
def test_no_instance_is_lost_or_doubled(
    rooms: tuple[int, int], actions: list[tuple[str, object]]
) -> None:
    world, count = World({"a": rooms[0], "b": rooms[1]}), 0
    for what, argument in actions:
        if what == "scale":
            count = int(str(argument))
            world.scale(count)
        elif what == "step":
            world.step(str(argument))
        elif what == "late":
            world.deliver_late()
        elif what == "pass":
            world.now += float(str(argument))
        else:
            world.clusters[str(argument)].up = what == "up"
        assert sum(row.wanted for row in world.rows.values()) == count
        world.check()

    for cluster in world.clusters.values():
        cluster.up = True
    while world.late:
        world.deliver_late()
    for _ in range(120):  # seconds; the longest back-off is thirty
        world.step()

    placed = [row for row in world.rows.values() if row.phase is Phase.PLACED]
    assert sum(row.wanted for row in world.rows.values()) == count
    assert len(placed) == min(count, sum(rooms)), "room is left and an instance has none"
    for row in placed:
        holders = [c.name for c in world.clusters.values() if row.key in c.instances]
        assert holders == [row.cluster]
        assert world.clusters[row.cluster].instances[row.key] == row.epoch
    everywhere = sum(len(cluster.instances) for cluster in world.clusters.values())
    assert everywhere == len(placed), "an instance runs that nobody wants"


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), FAULTS, st.booleans()), max_size=20))
def test_without_late_messages_no_instance_is_ever_in_two_clusters(
    changes: list[tuple[int, str, bool]],
) -> None:
    world = World({"a": 2, "b": 2})
    for count, lose, up in changes:
        world.clusters["a"].up = up
        world.scale(count)
        world.step(lose)
        a, b = (world.clusters[name].instances for name in "ab")
        assert not a.keys() & b.keys()


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 4),
    lost=st.sampled_from(["request", "answer"]),
    late=st.booleans(),
    away=st.integers(0, 40),
    back=st.lists(FAULTS, max_size=6),
)
def test_an_offer_given_up_while_its_cluster_is_away_leaves_the_newer_placement_alone(
    count: int, lost: str, late: bool, away: int, back: list[str]
) -> None:
    """Offers to `a` whose answers are lost, `a` gone for long, then back with what it took."""
    world = World({"a": 4, "b": 0})
    world.scale(count)
    world.step(lost)
    offered = {row.key: row.epoch for row in world.rows.values() if row.cluster == "a"}
    assert len(offered) == count
    world.clusters["a"].up = False
    world.clusters["b"].room = 4
    world.now += LOST_OFFER_S
    for _ in range(4 + away):
        world.step()
    assert world.given_up == count
    assert {row.cluster for row in world.rows.values()} == {"b"}

    while late and world.late:
        world.deliver_late()
    world.clusters["a"].up = True
    for fault in back:
        world.step(fault)
    for _ in range(60):
        world.step()
    assert world.clusters["a"].instances == {}
    for row in world.rows.values():
        assert (row.cluster, row.phase) == ("b", Phase.PLACED)
        assert world.clusters["b"].instances[row.key] == row.epoch > offered[row.key]
