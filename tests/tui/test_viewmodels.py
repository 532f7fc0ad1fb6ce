"""What views say, without a widget: filters, bars, questions, rows, lines of logs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from oakctl.errors import UsageError
from oakctl.model.events import Event
from oakctl.model.instance import InstanceState
from oakctl.model.views import RootStatus
from oakctl.tui.actions import TABS, View
from oakctl.tui.viewmodels import changes, headline, instances, nodes, services, timeline, words
from oakctl.tui.viewmodels.bars import bar
from oakctl.tui.viewmodels.filters import Filter
from oakctl.tui.viewmodels.log_lines import LONGEST_KEPT, LogLines
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.status import Tone

from . import fleet
from .fleet import NOW
from .test_topology import snapshot


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", True),
        ("rec", True),
        ("REC", True),
        ("pre", False),
        ("!pre", True),
        ("!rec", False),
        ("state=pend", True),
        ("state=ready", False),
        ("!state=ready rec", True),
        ("unknown=ready", False),
        ("!", True),
        ("a=b=c", False),
    ],
)
def test_filter(text: str, shown: bool) -> None:
    assert Filter(text).lets({"name": "ar.default.Rec.default", "state": "pending"}) is shown


@given(st.floats(), st.floats(), st.integers(1, 12))
def test_bar_is_as_wide_as_asked_whatever_it_is_of(used: float, total: float, width: int) -> None:
    assert cell_len(bar(used, total, width)) == width


def test_bar_shows_a_little_and_no_more_than_all() -> None:
    assert bar(0, 8) == "····"
    assert bar(0.01, 8) == "▏···"
    assert bar(4, 8) == "██··"
    assert bar(99, 8) == "████"
    assert bar(1, 0) == bar(math.nan, 1)
    assert "?" in bar(1, 0)


def test_questions_name_target_and_consequence() -> None:
    root = fleet.friendly()
    found = snapshot(root)
    rec = root.services_[1]
    more = changes.scale(rec, 3)
    assert more.title == "Scale ar.default.Rec.default from 1 to 3?"
    assert more.consequences[0].startswith("2 instances more will be placed")
    none = changes.scale(rec, 0)
    assert none.consequences == (
        "1 instance will be stopped",
        "none is left: the service will answer nobody",
    )
    gone = changes.delete(rec, found)
    assert "2 services will be gone: Pre, Rec" in gone.consequences[0]
    w1 = root.workers_[0]
    assert "1 instance on it will go on" in changes.cordon(w1, found.instances).consequences
    alone = changes.drain(w1, found.instances, 0)
    assert alone.title == "Drain worker edge/w1?"
    assert "no other worker is ready" in alone.consequences[-1]


@pytest.mark.parametrize("text", ["-1", "two", "", "1e3", "99999"])
def test_what_is_no_number_of_instances_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        changes.replicas(text)


def test_scaling_to_what_is_wanted_already_is_no_change() -> None:
    with pytest.raises(UsageError, match="already"):
        changes.scale(fleet.friendly().services_[0], 1)


def test_service_is_as_old_as_the_word_of_its_most_silent_cluster() -> None:
    root = fleet.friendly()
    root.clusters_[1] = fleet.cluster("cloud", last_seen=NOW - 30)
    root.instances_.append(fleet.instance("Pre", 1, "cloud/w1"))
    row = services.rows(snapshot(root), NOW)[0]
    assert row.cells[3].text == "cloud/w1, edge/w1"
    assert (row.cells[4].text, row.cells[4].tone) == ("30s", Tone.BAD)


def test_rows_are_filtered() -> None:
    found = snapshot(fleet.friendly())
    assert [row.key for row in nodes.rows(found, NOW, Filter("cluster=edge"))] == [
        "worker:edge/w1",
        "worker:edge/w2",
    ]
    assert len(instances.rows(found, NOW, Filter("state=pending"))) == 1
    assert services.rows(found, NOW, Filter("nothing")) == ()
    assert timeline.rows([Event(1, NOW, "worker.dead", "w1", "")], Filter("kind=instance")) == ()


def test_instance_in_full_says_why_and_how_old_that_is() -> None:
    view = fleet.instance("Pre", 0, "edge/w1", state=InstanceState.FAILED, reason="exit code 1")
    told = "\n".join(instances.details(view, NOW - 7, NOW))
    assert "✗ failed for 30s   edge/w1   told 7s ago" in told
    assert "because    exit code 1" in told


def test_story_is_told_newest_first() -> None:
    events = [
        Event(1, NOW - 9, "instance.placed", "x", "on w1"),
        Event(2, NOW, "a.running", "", ""),
    ]
    assert [row.cells[2].text for row in instances.story(events, NOW, "%H")] == [
        "running",
        "placed",
    ]


def test_worker_without_a_word_from_its_cluster_says_so() -> None:
    view = fleet.worker("edge", "w1")
    silent = type(view)("w1", "edge", "w1", "joining", 0)
    assert [*nodes.details(silent, NOW)][1].startswith("its cluster has not said")


@given(st.lists(st.text(alphabet="ab\n", max_size=12), max_size=12))
def test_log_lines_lose_nothing_wherever_pieces_end(pieces: list[str]) -> None:
    lines = LogLines()
    found = [line for piece in pieces for line in lines.take(piece)] + lines.rest()
    assert "\n".join(found) == "".join(pieces).removesuffix("\n")


def test_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = LogLines()
    assert lines.take("x" * (LONGEST_KEPT + 1)) == ["x" * (LONGEST_KEPT + 1)]
    assert lines.rest() == []


@given(st.integers(1, 200), st.sampled_from(View))
def test_headline_fits(width: int, view: View) -> None:
    found = Snapshot(NOW, fleet_status(), (), (), (), ())
    for now in (NOW, NOW + 100):
        assert len(headline.title(found, now, view, width)) <= width


def test_headline_says_how_old_all_of_it_is() -> None:
    found = Snapshot(NOW, fleet_status())
    assert "100s old" in headline.title(found, NOW + 100, View.FLEET, 118)
    assert "old" not in headline.title(found, NOW + 1, View.FLEET, 118)


def test_tab_below_a_character() -> None:
    shown = headline.title(Snapshot(0), NOW, View.NODES, 118)
    for view in TABS:
        assert headline.tab_at(shown.index(view.value), 118) is view
    assert headline.tab_at(110, 118) is None


@pytest.mark.parametrize("at", [math.inf, math.nan, 1e30, -1e30])
def test_clock_of_a_machine_that_lives_in_another_time(at: float) -> None:
    assert words.clock(at) == "?"


def fleet_status() -> RootStatus:
    return RootStatus("0.1.0", 77, NOW, "/state", 2, 3, 1, 1, 1)
