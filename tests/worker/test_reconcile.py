"""The pure core: decisions, and where they lead when they are carried out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.documents import DesiredDocument
from oakctl.model.instance import DesiredInstance, InstanceState
from oakctl.model.service import AddedFiles, RestartPolicy
from oakctl.orchestration import lifecycle
from oakctl.orchestration.worker import needs, record
from oakctl.orchestration.worker.needs import ARTIFACT, Need
from oakctl.orchestration.worker.reconcile import (
    Action,
    Fetch,
    Forget,
    Kill,
    Prepare,
    Start,
    Stop,
    decide,
    newest,
    next_due,
)
from oakctl.orchestration.worker.record import Phase, Record
from tests.worker.stage import spec

SHA = "a" * 64
CODE = Need(ARTIFACT, SHA)
NOW = 1000.0


def instance(number: int = 0, epoch: int = 1, **changes: object) -> DesiredInstance:
    return DesiredInstance(spec(SHA, **changes), number, epoch, f"10.18.0.{number + 2}")


def document(*instances: DesiredInstance) -> DesiredDocument:
    return DesiredDocument("w1", 1, "10.18.0.0/26", instances)


def started(desired: DesiredInstance, at: float = NOW) -> Record:
    return record.starting(record.new(desired, at), desired, at, limits="", bind="")


def only(
    wanted: DesiredDocument | None,
    known: Record | None,
    *,
    present: frozenset[Need] = frozenset({CODE}),
    confirmed: frozenset[tuple[str, int]] = frozenset(),
    now: float = NOW,
) -> tuple[Action, ...]:
    records = {known.name: known} if known else {}
    return decide(wanted, records, present, confirmed, now)


def test_the_way_of_an_instance() -> None:
    desired = instance()
    wanted, none = document(desired), document()
    assert only(wanted, None) == (Prepare(desired),)
    waiting = record.new(desired, NOW)
    assert only(wanted, waiting, present=frozenset()) == (Fetch(CODE),)
    assert only(wanted, waiting) == (Start(desired),)
    running = started(desired)
    assert only(wanted, running) == ()
    assert only(none, running) == (Stop(desired.name),)
    stopping = record.stopping(running, NOW)
    assert only(none, stopping) == ()
    assert only(none, stopping, now=NOW + 2.0) == (Kill(desired.name),)
    gone = record.ended(stopping, NOW + 1, 143, "")
    assert only(none, gone) == ()
    assert only(none, gone, confirmed=frozenset({(desired.name, 1)})) == (Forget(desired.name),)


def test_without_a_document_nothing_is_touched() -> None:
    assert only(None, started(instance())) == ()


def test_epochs() -> None:
    running = started(instance(epoch=2))
    assert only(document(instance(epoch=1)), running) == ()
    newer = instance(epoch=3)
    assert only(document(newer), running) == (Stop(newer.name),)
    gone = record.ended(record.stopping(running, NOW), NOW, 0, "")
    assert only(document(newer), gone) == (Prepare(newer),)
    assert newest((instance(epoch=1), newer, instance(epoch=2))) == {newer.name: newer}


def test_wanted_again_while_it_stops() -> None:
    desired = instance()
    stopping = record.stopping(started(desired), NOW)
    assert only(document(desired), stopping) == ()
    gone = record.ended(stopping, NOW, 0, "")
    assert only(document(desired), gone) == (Prepare(desired),)


def test_back_off_doubles_and_ends_with_a_long_run() -> None:
    policy = RestartPolicy(backoff_s=1.0, backoff_max_s=4.0, reset_after_s=60.0)
    desired = instance(restart=policy)
    known = record.new(desired, NOW)
    delays = []
    for _ in range(6):
        known = record.starting(known, desired, NOW, limits="", bind="")
        known = record.ended(known, NOW, 1, "ended with exit code 1")
        delays.append(known.retry_at - NOW)
        assert only(document(desired), known) == ()
        assert only(document(desired), known, now=known.retry_at) == (Start(desired),)
    assert delays == [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]
    assert known.restarts == 5
    assert lifecycle.is_crash_looping(known.failures)
    known = record.starting(known, desired, NOW, limits="", bind="")
    assert record.settled(known, NOW + 59) is known
    assert record.settled(known, NOW + 60).failures == 0
    assert record.ended(known, NOW + 61, 1, "").failures == 1


def test_ends_by_policy() -> None:
    def after(code: int | None, when: str, one_shot: bool = False) -> Record:
        desired = instance(restart=RestartPolicy(when=when), one_shot=one_shot)
        return record.ended(started(desired), NOW, code, "why")

    def state(known: Record) -> InstanceState:
        return record.state_of(known, has_process=False)

    assert state(after(0, "never")) is InstanceState.COMPLETED
    assert state(after(1, "never")) is InstanceState.FAILED
    assert after(1, "never").phase is Phase.ENDED
    assert state(after(0, "on-failure")) is InstanceState.COMPLETED
    assert after(None, "on-failure").phase is Phase.WAITING
    assert after(0, "always").phase is Phase.WAITING
    assert state(after(0, "always", one_shot=True)) is InstanceState.COMPLETED
    assert after(1, "always", one_shot=True).phase is Phase.WAITING


def test_a_start_that_was_cut_off_is_no_failure() -> None:
    again = record.never_ran(started(instance()), NOW)
    assert (again.phase, again.failures, again.retry_at) == (Phase.WAITING, 0, NOW)
    asked = record.stopping(started(instance()), NOW)
    assert record.never_ran(asked, NOW).gone


def test_a_start_that_was_cut_off_is_not_counted() -> None:
    desired = instance()
    once = record.never_ran(started(desired), NOW)
    assert record.starting(once, desired, NOW, limits="", bind="").restarts == 0
    again = record.ended(started(desired), NOW, 1, "")
    cut = record.never_ran(record.starting(again, desired, NOW, limits="", bind=""), NOW)
    assert record.starting(cut, desired, NOW, limits="", bind="").restarts == 1


def test_what_does_not_even_start_here_is_told_until_it_runs() -> None:
    desired = instance()

    def told(known: Record, pid: int = 0) -> tuple[InstanceState, bool, str]:
        seen = record.observed(known, pid=pid, progress=None, waiting_for="")
        return seen.state, seen.blocked, seen.reason

    blocked = record.could_not_start(started(desired), NOW, "port 80 is taken")
    assert told(blocked) == (InstanceState.FAILED, True, "port 80 is taken")
    again = record.starting(blocked, desired, NOW, limits="", bind="")
    assert told(again) == (InstanceState.FAILED, True, "port 80 is taken")
    assert told(again, pid=7) == (InstanceState.RUNNING, False, "")
    over = record.ended(again, NOW, 1, "ended with exit code 1")
    assert told(over) == (InstanceState.FAILED, False, "ended with exit code 1")
    asked = record.stopping(again, NOW)
    assert record.could_not_start(asked, NOW, "port 80 is taken").gone


def test_needs_of_a_container() -> None:
    def of(**changes: object) -> tuple[Need, ...]:
        return needs.of(instance(virtualization="container", **changes))

    assert of() == (Need("image", SHA, "missing"),)
    assert of(added_files=(AddedFiles("b" * 64, "/x"),))[1] == Need(ARTIFACT, "b" * 64)
    always = of(pull="always")
    assert always != needs.of(instance(number=1, virtualization="container", pull="always"))
    assert always == of(pull="always")
    assert always != needs.of(instance(epoch=2, virtualization="container", pull="always"))


def test_next_due() -> None:
    waiting = record.could_not_start(record.new(instance(), NOW), NOW, "disk")
    assert next_due([waiting], NOW) == waiting.retry_at
    stopping = record.stopping(started(instance(1)), NOW)
    assert next_due([stopping, started(instance(2))], NOW) == stopping.kill_at
    assert next_due([started(instance())], NOW) is None


def test_words_for_an_end() -> None:
    def words(code: int | None, oom: bool = False) -> str:
        return record.exit_in_words(code, out_of_memory=oom, limit="its limit is 8 MiB")

    assert words(0) == "ended with exit code 0"
    assert words(137) == "killed by signal 9"
    assert words(137, True) == f"{record.OUT_OF_MEMORY} (its limit is 8 MiB)"
    assert "not known" in words(None)


numbers = st.integers(0, 2)
epochs = st.integers(1, 3)
documents = st.lists(st.tuples(numbers, epochs), max_size=4).map(
    lambda pairs: document(*(instance(number, epoch) for number, epoch in pairs))
)


class World:
    """Carries actions out in memory, as `instances` does on a machine."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.present: set[Need] = set()
        self.confirmed: set[tuple[str, int]] = set()
        self.starts: list[tuple[str, int]] = []

    def step(self, wanted: DesiredDocument, now: float) -> bool:
        actions = decide(wanted, self.records, self.present, self.confirmed, now)
        for action in actions:
            self._carry_out(action, now)
        happened = bool(actions)
        for name, known in list(self.records.items()):
            if known.stopping_since and known.phase is Phase.RUNNING:
                self.records[name] = record.ended(known, now, 143, "")
                happened = True
            elif known.gone and (name, known.epoch) not in self.confirmed:
                # What the cluster has acknowledged asks for another pass, too.
                self.confirmed.add((name, known.epoch))
                happened = True
        return happened

    def _carry_out(self, action: Action, now: float) -> None:
        if isinstance(action, Prepare):
            before = self.records.get(action.desired.name)
            assert before is None or before.phase is Phase.ENDED
            self.records[action.desired.name] = record.new(action.desired, now)
        elif isinstance(action, Fetch):
            self.present.add(action.need)
        elif isinstance(action, Start):
            known = self.records[action.desired.name]
            assert known.phase is Phase.WAITING
            self.starts.append((known.name, known.epoch))
            begun = record.starting(known, action.desired, now, limits="", bind="")
            self.records[known.name] = begun
        elif isinstance(action, Stop):
            self.records[action.name] = record.stopping(self.records[action.name], now)
        elif isinstance(action, Forget):
            assert self.records[action.name].gone
            del self.records[action.name]


@given(st.lists(documents, min_size=1, max_size=5), st.integers(0, 6))
def test_every_history_ends_at_the_last_document(
    history: list[DesiredDocument], steps_between: int
) -> None:
    world, now = World(), NOW
    for wanted in history:
        for _ in range(steps_between):
            now += 1
            world.step(wanted, now)
    for _ in range(20):
        now += 1
        if not world.step(history[-1], now):
            break
    now += 1
    assert not world.step(history[-1], now), "a pass with nothing to do does something"
    wanted = newest(history[-1].instances)
    assert world.records.keys() == wanted.keys()
    for name, known in world.records.items():
        # A document that goes back to a lower epoch is late news and starts nothing.
        late = wanted[name].epoch < known.epoch
        assert late or (known.phase, known.epoch) == (Phase.RUNNING, wanted[name].epoch)


@given(documents, st.lists(st.tuples(numbers, epochs, st.sampled_from(Phase), st.booleans())))
def test_decisions_repeat(wanted: DesiredDocument, had: list[tuple[int, int, Phase, bool]]) -> None:
    records = {}
    for number, epoch, phase, asked in had:
        known = replace(started(instance(number, epoch)), phase=phase)
        records[known.name] = replace(known, stopping_since=NOW) if asked else known
    first = decide(wanted, records, {CODE}, set(), NOW)
    assert first == decide(wanted, records, {CODE}, set(), NOW)
    names = [a.name if hasattr(a, "name") else a.desired.name for a in first]  # type: ignore[union-attr]
    assert len(names) == len(set(names)), "two actions on one instance"


def test_a_clock_that_was_set_back_makes_nothing_wait_for_ever() -> None:
    desired = instance()
    waiting = replace(record.new(desired, NOW), retry_at=NOW + 60)
    assert only(document(desired), waiting, now=NOW + 30) == ()
    assert only(document(desired), waiting, now=NOW - 86400) == (Start(desired),)
    stopping = record.stopping(started(desired), NOW)
    assert only(document(), stopping, now=NOW - 86400) == (Kill(desired.name),)
