"""Newer releases: orchestrators first, one worker at a time, and no further than a failure."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.cli.fleet_words import plan_lines
from oakctl.fleet import looking, planner
from oakctl.fleet.state import Checked, Seen, Wanted
from oakctl.model.messages import WorkerSummary
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.resources import Resources
from oakctl.model.views import StepEvent, WorkerView
from tests.fleet.fake_root import FakeRoot
from tests.fleet.fleets import HOSTS, applied, fleets, planned

EDGE, CLOUD = ClusterCreate("edge", "h0"), ClusterCreate("cloud", "h3")
FLEET = Wanted(
    HOSTS[:5],
    (EDGE, CLOUD),
    (WorkerAdd("w1", "edge", "h1"), WorkerAdd("w2", "edge", "h2"), WorkerAdd("w1", "cloud", "h4")),
)
ALL = {"edge", "cloud", "edge/w1", "edge/w2", "cloud/w1"}


async def test_the_orchestrator_comes_first() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.calls = set(ALL), []
    plan = planner.upgrades(await planned(root, FLEET))
    assert {change.action for change in plan.changes} == {"upgrade"}
    assert not (await applied(root, FLEET, plan)).failed
    edge = [call for call in root.calls if "edge" in call]
    assert edge == ["upgrade edge", "upgrade edge/w1", "upgrade edge/w2"]
    assert (await planned(root, FLEET)).is_empty


async def test_what_differs_is_changed_and_what_is_new_made_when_its_release_has_come() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.calls = {"edge", "edge/w1", "edge/w2"}, []
    changed = replace(FLEET.workers[0], labels={"room": "hall"})
    wanted = replace(
        FLEET,
        hosts=HOSTS,
        clusters=(replace(EDGE, policy="spread"), CLOUD),
        workers=(changed, *FLEET.workers[1:], WorkerAdd("w3", "edge", "h5")),
    )

    assert not (await applied(root, wanted, await planned(root, wanted))).failed

    assert root.calls == [
        *("put h5", "upgrade edge", "cluster edge", "worker edge/w3"),
        *("upgrade edge/w1", "worker edge/w1", "upgrade edge/w2"),
    ]
    assert (await planned(root, wanted)).is_empty


async def test_a_release_that_fails_is_not_changed_on_and_comes_with_no_other_worker() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.broken, root.calls = {"edge", "edge/w1"}, {"edge"}, []
    changed = replace(FLEET.workers[0], labels={"room": "hall"})
    more = (changed, *FLEET.workers[1:], WorkerAdd("w3", "edge", "h5"))
    wanted = replace(FLEET, hosts=HOSTS, workers=more)

    outcome = await applied(root, wanted, await planned(root, wanted))

    failed = {failure.change.name for failure in outcome.failed}
    assert failed == {"edge", "edge/w1", "edge/w3"}
    assert root.calls == ["put h5", "upgrade edge"]


async def test_a_restart_that_was_agreed_to_comes_after_the_upgrade() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.calls = {"edge/w1"}, []
    plan = await planned(root, FLEET)
    agreed = replace(FLEET, workers=tuple(replace(w, allow_reboot=True) for w in FLEET.workers))
    await applied(root, agreed, plan)
    assert root.calls == ["upgrade edge/w1", "worker edge/w1"]


async def test_what_an_upgrade_leaves_as_it_is_is_named() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.calls = {"edge/w1"}, []
    one, two, *others = (replace(w, labels={"room": "hall"}) for w in FLEET.workers[:2])
    wanted = replace(FLEET, workers=(one, two, *others, WorkerAdd("w3", "edge", "h4")))

    plan = planner.upgrades(await planned(root, wanted))

    assert [change.name for change in plan.changes] == ["edge/w1"]
    assert [change.name for change in plan.left] == ["edge/w1", "edge/w2", "edge/w3"]
    lines = "\n".join(plan_lines(plan, steps=False))
    assert "not as the file says, and kept so (oakctl fleet apply changes it):" in lines
    assert "  worker edge/w2: label room: - → hall" in lines
    await applied(root, wanted, plan)
    assert root.calls == ["upgrade edge/w1"]
    left = planner.upgrades(await planned(root, wanted))
    assert not left.changes
    assert "no upgrades" in list(plan_lines(left, steps=False))[-1]


async def test_a_failure_stops_its_own_cluster_only() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.outdated, root.broken = set(ALL), {"edge/w1"}
    outcome = await applied(root, FLEET, await planned(root, FLEET))
    assert {failure.change.name for failure in outcome.failed} == {"edge/w1", "edge/w2"}
    assert "not begun: the upgrade of worker edge/w1 failed" in str(outcome.failed[-1].error)
    assert root.outdated == {"edge/w1", "edge/w2"}
    assert "upgrade edge/w2" not in root.calls


async def test_what_there_is_can_be_upgraded_without_a_file() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    known = await looking.known_of(root)  # type: ignore[arg-type]
    wanted = looking.as_wanted(known)
    assert (await planned(root, wanted, prune=True)).is_empty
    root.outdated = {"cloud/w1"}
    (change,) = planner.upgrades(await planned(root, wanted)).changes
    assert (change.name, change.host) == ("cloud/w1", "h4")


@pytest.mark.parametrize(
    ("runs", "missing", "action"),
    [
        ("old", "worker: start the agent", "upgrade"),  # its host has the new one already
        ("new", "worker: start the agent", "repair"),
        ("", "worker: start the agent", "repair"),
        ("old", "base: node archive new", "upgrade"),
        ("old", "", None),
    ],
)
def test_what_counts_as_old(runs: str, missing: str, action: str | None) -> None:
    asked = FLEET.workers[0]
    facts = NodeFacts("h1", "x86_64", "Debian", "3.11", Resources(), release=runs)
    summary = WorkerSummary("w1", "ready", False, facts, Usage(), Resources(), 0.0)
    step = StepEvent(0.0, "h1", missing, "planned", "missing")
    seen = Seen(
        HOSTS[:2],
        workers=(WorkerView("w1", "edge", "h1", "ready", 0, summary, asked),),
        checks={("worker", "edge/w1"): Checked((step,) if missing else ())},
        release="new",
    )
    found = planner.plan(Wanted(HOSTS[:2], (), (asked,)), seen).changes
    assert [change.action for change in found] == ([action] if action else [])


@given(fleets(), st.data())
def test_a_rolling_that_breaks_anywhere_is_carried_on(wanted: Wanted, data: st.DataObject) -> None:
    async def main() -> None:
        root = FakeRoot()
        await applied(root, wanted, await planned(root, wanted))
        names = sorted({*root.made, *root.joined})
        outdated = st.sets(st.sampled_from(names)) if names else st.just(set())
        root.outdated = data.draw(outdated)
        root.broken = data.draw(outdated)
        before = set(root.outdated)
        plan = await planned(root, wanted)
        assert {change.name for change in plan.changes} == before
        outcome = await applied(root, wanted, plan)
        done = {change.name for change in outcome.done}
        assert done.isdisjoint(root.broken)
        assert root.outdated == before - done
        root.broken = set()
        await applied(root, wanted, await planned(root, wanted))
        assert (await planned(root, wanted)).is_empty
        assert {name: row[0] for name, row in root.joined.items()} == {
            f"{worker.cluster}/{worker.name}": worker for worker in wanted.workers
        }

    asyncio.run(main())
