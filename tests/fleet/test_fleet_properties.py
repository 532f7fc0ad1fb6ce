"""plan(apply(x)) is empty: for any two fleets, one made of the other, with and without faults."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from oakctl.fleet import looking, planner
from oakctl.fleet.state import Seen, Wanted
from tests.fleet.fake_root import FakeRoot
from tests.fleet.fleets import applied, fleets, planned


@given(fleets(), fleets())
def test_what_was_applied_needs_nothing(before: Wanted, after: Wanted) -> None:
    async def main() -> None:
        root = FakeRoot()
        outcome = await applied(root, before, await planned(root, before))
        assert not outcome.failed
        assert (await planned(root, before)).is_empty

        outcome = await applied(root, after, await planned(root, after, prune=True))
        assert not outcome.failed, outcome.failed
        again = await planned(root, after, prune=True)
        assert again.is_empty, again
        assert not again.extras
        assert again.unchanged == len(after.hosts) + len(after.clusters) + len(after.workers)
        count = len(root.calls)
        await applied(root, after, again)
        assert len(root.calls) == count

    asyncio.run(main())


@given(fleets(), fleets(), st.integers())
def test_interrupted_at_random_it_converges(before: Wanted, after: Wanted, seed: int) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        root = FakeRoot(interrupt=lambda: chance.random() < 0.4)
        for wanted in (before, after):
            for _ in range(200):
                plan = await planned(root, wanted, prune=True)
                if plan.is_empty:
                    break
                await applied(root, wanted, plan)
            assert plan.is_empty, plan
        assert {name: row[0] for name, row in root.joined.items()} == {
            f"{worker.cluster}/{worker.name}": worker for worker in after.workers
        }

    asyncio.run(main())


@given(fleets(), fleets())
def test_without_prune_nothing_is_removed(before: Wanted, after: Wanted) -> None:
    async def main() -> None:
        root = FakeRoot()
        await applied(root, before, await planned(root, before))
        plan = await planned(root, after)
        await applied(root, after, plan)
        assert {host.name for host in before.hosts} <= set(root.known)
        assert {cluster.name for cluster in before.clusters} <= set(root.made)
        for worker in before.workers:
            assert f"{worker.cluster}/{worker.name}" in root.joined

    asyncio.run(main())


@given(fleets(), st.booleans())
def test_destruction_leaves_nothing(wanted: Wanted, prune: bool) -> None:
    async def main() -> None:
        root = FakeRoot()
        await applied(root, wanted, await planned(root, wanted))
        seen = await looking.known_of(root)  # type: ignore[arg-type]
        outcome = await applied(root, wanted, planner.destruction(wanted, seen, prune=prune))
        assert not outcome.failed
        assert (root.known, root.made, root.joined) == ({}, {}, {})

    asyncio.run(main())


@given(fleets())
def test_a_plan_of_nothing_creates_everything(wanted: Wanted) -> None:
    plan = planner.plan(wanted, Seen())
    assert plan.unchanged == 0
    assert {change.action for change in plan.changes} <= {"register", "create"}
    total = len(wanted.hosts) + len(wanted.clusters) + len(wanted.workers)
    assert len(plan.changes) == total
