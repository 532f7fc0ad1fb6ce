"""Instances are replaced one after the other, the new one first: as steps, and by a whole root."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oakctl.errors import Conflict, NotFound
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import ServiceView
from oakctl.orchestration.root import replacing
from oakctl.orchestration.root.delegation import Key, Phase, Row
from oakctl.orchestration.root.replacing import Begin, Finish, Halt, Sighted, Skip, step
from oakctl.orchestration.root.store.replacements import Replacement
from tests.root.descriptor import application, service
from tests.root.stage import Stage, populate, until, upload

JOB = "ar.demo.Rec.demo"
NAME = f"{JOB}.instance"


def row(number: int, phase: Phase = Phase.PLACED, *, wanted: bool = True) -> Row:
    return Row(JOB, number, wanted, phase, 1, "edge")


def seen(ready: set[Key]) -> Sighted:
    return Sighted(frozenset(("edge", *key) for key in ready))


def test_each_step() -> None:
    asked, begun = Replacement(JOB, 0), Replacement(JOB, 0, 2)
    both, none, late = [row(0), row(1)], Sighted(), replacing.READY_S
    there = Sighted(frozenset({("edge", JOB, 2)}))
    assert step(asked, both, none, 0.0) == Begin(2)
    assert step(asked, [row(0), row(2)], none, 0.0) == Begin(1)
    assert step(asked, [row(1)], none, 0.0) == Skip()
    assert step(asked, [row(0, wanted=False), row(1)], none, 0.0) == Skip()
    assert step(begun, [*both, row(2)], none, 4.0) is None
    assert step(begun, [*both, row(2)], there, 4.0) == Finish()
    assert step(begun, [*both, row(2, Phase.OFFERED)], there, 4.0) is None
    assert step(begun, both, none, 4.0) == Skip()
    assert step(begun, [*both, row(2)], none, late) == Halt()
    # A copy that another cluster has is not the one that is waited for.
    stray = Sighted(frozenset({("cloud", JOB, 2)}))
    assert step(begun, [*both, row(2)], stray, 4.0) is None
    # Nothing is given up because its cluster is not heard.
    assert step(begun, [*both, row(2)], Sighted(away=frozenset({"edge"})), late) is None


@settings(max_examples=200)
@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_never_fewer_are_ready_and_never_two_more(count: int, moves: list[bool]) -> None:
    """Whenever each new one becomes ready, and each old one ends."""
    rows = {number: row(number) for number in range(count)}
    ready: set[Key] = {(JOB, number) for number in rows}
    queue = [Replacement(JOB, number) for number in rows]
    for moves_now in (*moves, *[True] * 60):
        due = step(queue[0], list(rows.values()), seen(ready), 1.0) if queue else None
        if isinstance(due, Begin):
            assert due.number not in rows
            rows[due.number] = row(due.number, Phase.UNPLACED)
            queue[0] = Replacement(JOB, queue[0].old, due.number)
        elif isinstance(due, Finish):
            old = queue.pop(0).old
            rows[old] = row(old, Phase.WITHDRAWING, wanted=False)
        assert due is None or isinstance(due, Begin | Finish)
        if moves_now:  # the cluster does something
            for number, one in list(rows.items()):
                if one.phase is Phase.WITHDRAWING:
                    del rows[number]
                    ready.discard(one.key)
                elif one.phase is Phase.UNPLACED:
                    rows[number] = row(number)
                else:
                    ready.add(one.key)
        wanted = [one for one in rows.values() if one.wanted]
        assert count <= len(wanted) <= count + 1
        assert sum(one.key in ready for one in wanted) >= count
    assert not queue
    assert sum(one.wanted for one in rows.values()) == count


def is_ready(view: ServiceView) -> bool:
    return view.state == "ready"


async def test_a_restart_goes_from_one_to_the_next(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 3))))
        await until("three of them", lambda: root.service("Rec"), is_ready)
        edge.unready = {3}
        view = await root.restart("Rec")
        assert (view.state, view.replacing, view.wanted) == ("starting", 3, 3)
        await until("the first new one", lambda: root.instances("Rec"), lambda v: len(v) == 4)

        # The old ones go on until that is ready; a root that comes later finds all of it.
        async def there() -> set[int]:
            return {number for _, number in edge.instances}

        await until("it to be in its cluster", there, lambda found: found == {0, 1, 2, 3})
    async with stage.root() as root:
        assert (await root.service("Rec")).replacing == 3
        edge.unready = set()
        await until("all to be replaced", lambda: root.service("Rec"), is_ready)
        found = await until("three", lambda: root.instances("Rec"), lambda v: len(v) == 3)
        assert all(one.epoch > 1 or one.number > 2 for one in found)
        kinds = [event.kind async for event in root.events()]
        assert kinds.count("instance.replaced") == 3


async def test_what_never_becomes_ready_is_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 2))))
        await until("two of them", lambda: root.service("Rec"), is_ready)
        edge.unready = {2}
        monkeypatch.setattr(replacing, "READY_S", 1.0)
        await root.restart("Rec")
        view = await until("it to be given up", lambda: root.service("Rec"), lambda v: v.halted)
        assert f"{NAME}.2 was not ready" in view.halted
        found = await until("the two", lambda: root.instances("Rec"), lambda v: len(v) == 2)
        assert [(one.number, one.epoch) for one in found] == [(0, 1), (1, 1)]
        again = await until("it to be well", lambda: root.service("Rec"), is_ready)
        assert (again.replacing, again.reason) == (0, again.halted)
        await root.scale("Rec", 1)
        assert (await root.service("Rec")).halted == ""


async def test_a_migration_is_refused_before_anything_changes(stage: Stage) -> None:
    await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec"))))
        await until("it to be ready", lambda: root.service("Rec"), is_ready)
        with pytest.raises(NotFound, match="no worker nobody"):
            await root.migrate("Rec.instance.0", "nobody")
        with pytest.raises(Conflict, match="is on edge/w1 already"):
            await root.migrate("Rec.instance.0", "edge/w1")
        assert (await root.service("Rec")).replacing == 0


async def test_scaling_and_deleting_end_what_is_under_way(stage: Stage) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        await upload(root)
        await root.apply(ApplyRequest(application(service("Rec", 2))))
        await until("two of them", lambda: root.service("Rec"), is_ready)
        edge.unready = {2, 3}
        await root.restart("Rec")
        await until("a new one", lambda: root.instances("Rec"), lambda v: len(v) == 3)
        await root.scale("Rec", 1)
        found = await until("one", lambda: root.instances("Rec"), lambda v: len(v) == 1)
        assert found[0].number == 0
        await root.restart("Rec")
        await until("a new one", lambda: root.instances("Rec"), lambda v: len(v) == 2)
        await root.delete_application("ar")
        await until("the end", root.applications, lambda found: not found)
        assert edge.instances == {}
