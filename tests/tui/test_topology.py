from collections.abc import Sequence

from oakctl.model.instance import InstanceState
from oakctl.tui.viewmodels import topology
from oakctl.tui.viewmodels.filters import Filter
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.status import Tone

from . import fleet
from .fleet import NOW


def snapshot(root: fleet.FakeRoot) -> Snapshot:
    return Snapshot(
        NOW,
        None,
        tuple(root.clusters_),
        tuple(root.workers_),
        tuple(root.services_),
        tuple(root.instances_),
    )


def names(found: Sequence[topology.TreeRow]) -> list[str]:
    return [row.cells[0].text for row in found]


def test_tree_shows_who_is_below_whom() -> None:
    assert names(topology.rows(snapshot(fleet.friendly()), NOW)) == [
        "root",
        "├─ cloud",
        "│  └─ w1",
        "├─ edge",
        "│  ├─ w1",
        "│  │  └─ Pre.0",
        "│  └─ w2",
        "└─ unplaced",
        "   └─ Rec.0",
    ]


def test_waiting_instance_says_why() -> None:
    last = topology.rows(snapshot(fleet.friendly()), NOW)[-1]
    assert [cell.text for cell in last.cells] == [
        "   └─ Rec.0",
        "▲ pending",
        "",
        "0 vgpus free",
    ]


def test_folded_branch_hides_what_is_below_it_and_counts() -> None:
    found = names(topology.rows(snapshot(fleet.friendly()), NOW, frozenset({"cluster:edge"})))
    assert "├─ edge (+2)" in found
    assert not any("Pre" in name for name in found)


def test_no_instance_and_no_worker_disappears() -> None:
    root = fleet.FakeRoot(
        workers_=[fleet.worker("gone", "w9")],
        instances_=[fleet.instance("Pre", 0, "gone/w9"), fleet.instance("Obj", 1, "edge/w7")],
    )
    found = topology.rows(snapshot(root), NOW)
    assert names(found) == [
        "root",
        "├─ gone",
        "│  └─ w9",
        "│     └─ Pre.0",
        "└─ unplaced",
        "   └─ Obj.1",
    ]
    assert found[-1].cells[-1].text.startswith("on edge/w7")


def test_two_hundred_workers_all_have_a_name() -> None:
    root = fleet.FakeRoot(
        clusters_=[fleet.cluster("edge")],
        workers_=[fleet.worker("edge", f"w{number:03}") for number in range(200)],
    )
    assert sum("w" in name for name in names(topology.rows(snapshot(root), NOW))) == 200


def test_old_heartbeat_changes_its_meaning() -> None:
    root = fleet.friendly()
    by_key = {row.key: row for row in topology.rows(snapshot(root), NOW + 3)}
    assert by_key["worker:edge/w1"].cells[2].tone is Tone.WARNING
    by_key = {row.key: row for row in topology.rows(snapshot(root), NOW + 30)}
    assert by_key["worker:edge/w1"].cells[2].tone is Tone.BAD


def test_status_is_told_by_word_and_not_by_colour_alone() -> None:
    crash = fleet.instance("Pre", 0, "edge/w1", state=InstanceState.FAILED, reason="exit code 1")
    root = fleet.FakeRoot(instances_=[crash], clusters_=[fleet.cluster("edge")])
    assert topology.rows(snapshot(root), NOW)[-1].cells[1].text == "✗ failed"


def test_keys_are_unique_for_hostile_names() -> None:
    for text in fleet.HOSTILE:
        found = topology.rows(snapshot(fleet.hostile(text)), NOW)
        assert len({row.key for row in found}) == len(found)


def test_branch_of_what_waits_says_why_the_most_common_reason_first() -> None:
    waiting = [fleet.instance("Rec", n, state=InstanceState.REQUESTED, reason="x") for n in (0, 1)]
    odd = fleet.instance("Obj", 0, state=InstanceState.REQUESTED, reason="y")
    found = topology.rows(snapshot(fleet.FakeRoot(instances_=[odd, *waiting])), NOW)
    assert found[1].cells[-1].text == "3 instances: 2 × x; 1 × y"


def test_filter_keeps_what_is_above_a_match() -> None:
    shown = Filter("service=pre")
    found = topology.rows(snapshot(fleet.friendly()), NOW, frozenset(), shown)
    assert names(found) == ["root", "└─ edge", "   └─ w1", "      └─ Pre.0"]
