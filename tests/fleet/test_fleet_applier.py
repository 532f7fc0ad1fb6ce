"""A failed host does not stop the others, and what cannot be made is said before."""

from __future__ import annotations

from dataclasses import replace

from oakctl.fleet import planner
from oakctl.fleet.state import Wanted
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import HostFinding, HostView
from tests.fleet.fake_root import FakeRoot
from tests.fleet.fleets import HOSTS, applied, planned

EDGE = ClusterCreate("edge", "h0")
W1, W2 = WorkerAdd("w1", "edge", "h1"), WorkerAdd("w2", "edge", "h2")
FLEET = Wanted(HOSTS[:3], (EDGE,), (W1, W2))


async def test_a_dead_host_does_not_stop_the_others() -> None:
    root = FakeRoot(unreachable={"h1"})
    plan = await planned(root, FLEET)
    assert [fault.host for fault in plan.faults] == ["h1"]
    outcome = await applied(root, FLEET, plan)
    assert [failure.change.name for failure in outcome.failed] == ["edge/w1"]
    assert set(root.joined) == {"edge/w2"}
    root.unreachable.clear()
    outcome = await applied(root, FLEET, await planned(root, FLEET))
    assert [change.name for change in outcome.done] == ["edge/w1"]


async def test_a_dead_orchestrator_keeps_only_its_own_workers_back() -> None:
    root = FakeRoot(unreachable={"h0"})
    wanted = Wanted(
        HOSTS[:5],
        (EDGE, ClusterCreate("cloud", "h3")),
        (W1, W2, WorkerAdd("w1", "cloud", "h4")),
    )
    outcome = await applied(root, wanted, await planned(root, wanted))
    assert {failure.change.name for failure in outcome.failed} == {"edge", "edge/w1", "edge/w2"}
    reasons = [str(failure.error) for failure in outcome.failed]
    assert "cluster edge failed" in reasons
    assert set(root.joined) == {"cloud/w1"}


async def test_a_ready_worker_that_cannot_be_looked_at_is_a_fault_and_no_change() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    root.unreachable = {"h2"}
    plan = await planned(root, FLEET)
    assert plan.changes == ()
    assert not plan.is_empty
    assert plan.unchanged == 6


async def test_differences_are_named() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    wanted = Wanted(
        FLEET.hosts,
        (replace(EDGE, policy="spread"),),
        (replace(W1, labels={"room": "hall"}), W2),
    )
    plan = await planned(root, wanted)
    assert [(c.action, c.name, c.differences) for c in plan.changes] == [
        ("change", "edge", ("policy: rom → spread",)),
        ("change", "edge/w1", ("label room: - → hall",)),
    ]
    assert plan.changes[0].steps == ("base: it: missing",)


async def test_what_is_not_in_the_file_is_shown_and_blocks_its_host() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    renamed = Wanted(FLEET.hosts, FLEET.clusters, (W1, replace(W2, name="other")))
    plan = await planned(root, renamed)
    assert [change.name for change in plan.extras] == ["edge/w2"]
    (change,) = plan.changes
    assert "host h2 is worker edge/w2, which stays there" in change.blocked
    assert not (await planned(root, renamed, prune=True)).changes[0].blocked


async def test_workers_that_joined_by_a_token_are_kept_and_stand_in_nobodys_way() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    for name in ("w7", "w8"):
        root.joined[f"edge/{name}"] = (WorkerAdd(name, "edge", ""), "ready")
    plan = await planned(root, FLEET)
    assert plan.is_empty
    assert [change.name for change in plan.extras] == ["edge/w7", "edge/w8"]
    assert not plan.faults
    pruned = await planned(root, FLEET, prune=True)
    assert [(c.action, c.name, c.blocked) for c in pruned.changes] == [
        ("remove", "edge/w7", ""),
        ("remove", "edge/w8", ""),
    ]
    await applied(root, FLEET, pruned)
    assert (await planned(root, FLEET)).extras == ()


async def test_an_orchestrator_does_not_move_and_a_worker_does() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    moved = Wanted(HOSTS[:5], (replace(EDGE, host="h3"),), (replace(W1, host="h4"), W2))
    plan = await planned(root, moved)
    by_name = {change.name: change for change in plan.changes}
    assert by_name["edge"].blocked == "an orchestrator does not move"
    assert by_name["edge/w1"].action == "replace"
    moved = replace(moved, clusters=FLEET.clusters)
    assert not (await applied(root, moved, await planned(root, moved))).failed
    assert root.joined["edge/w1"][0].host == "h4"
    assert root.calls[-2:] == ["remove worker edge/w1", "worker edge/w1"]


async def test_a_host_of_a_lab_stays_one() -> None:
    host = HostView("h1", "10.0.0.1", lab="demo")
    root = FakeRoot({"h1": host})
    wanted = Wanted((HostView("h1", "10.0.0.1", user="pi"),))
    await applied(root, wanted, await planned(root, wanted))
    assert (root.known["h1"].user, root.known["h1"].lab) == ("pi", "demo")


async def test_destruction_keeps_a_cluster_with_a_worker_that_is_not_in_the_file() -> None:
    root = FakeRoot()
    await applied(root, FLEET, await planned(root, FLEET))
    less = Wanted(FLEET.hosts, FLEET.clusters, (W1,))
    from oakctl.fleet import looking

    seen = await looking.known_of(root)  # type: ignore[arg-type]
    plan = planner.destruction(less, seen)
    assert [c.name for c in plan.changes if c.blocked] == ["edge"]
    assert [c.name for c in plan.changes if c.kind == "host"] == ["h1"]
    outcome = await applied(root, less, planner.destruction(less, seen, prune=True))
    assert not outcome.failed
    assert root.known == {}


async def test_a_host_that_cannot_be_used_is_no_place_and_says_what_helps() -> None:
    root = FakeRoot(
        findings=[
            HostFinding("h1", "block", "disk", "its file system is full", "make room"),
            HostFinding("h2", "note", "memory", "it has little"),
        ]
    )
    plan = await planned(root, FLEET)
    by_name = {change.name: change for change in plan.changes}
    assert by_name["edge/w1"].blocked == "h1: its file system is full"
    assert by_name["edge/w1"].hint == "make room"
    assert not by_name["edge/w2"].blocked
    assert [finding.host for finding in plan.findings] == ["h1", "h2"]
    outcome = await applied(root, FLEET, plan)
    assert [failure.change.name for failure in outcome.failed] == ["edge/w1"]
