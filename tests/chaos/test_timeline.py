"""What came of faults, by events and requests that are made up."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from oakctl.chaos import timeline
from oakctl.chaos.timeline import Request, Struck
from oakctl.model.events import Event

WEB = "shop.demo.Web.demo.instance.0"
OTHER = "shop.demo.Web.demo.instance.1"
KILL = Struck("kill-instance Web.instance.0", "kill-instance", 100.0, 0.0, (WEB,), ("edge",))
CUT = Struck("power-cut pi-1", "power-cut", 100.0, 0.0, ("w1", WEB, OTHER), ("edge",))


def events(*told: tuple[float, str, str]) -> list[Event]:
    return [
        Event(number, at, kind, subject, "", cluster="edge")
        for number, (at, kind, subject) in enumerate(told, 1)
    ]


def test_a_killed_instance() -> None:
    told = events(
        (99.0, "instance.failed", WEB),  # before it
        (99.5, "instance.ready", WEB),
        (100.2, "instance.failed", WEB),
        (100.5, "instance.running", WEB),
        (101.0, "instance.ready", OTHER),
        (102.0, "instance.ready", WEB),
    )
    found = timeline.outcome(KILL, told, None)
    assert (found.detected_s, found.replaced_s) == (0.2, 2.0)
    assert found.detected_by == f"instance.failed {WEB}"
    assert (found.hit, found.replaced) == ((WEB,), 1)
    assert (found.rerouted_s, found.failed) == (None, None)


def test_a_node_with_two_instances() -> None:
    told = events(
        (101.0, "worker.suspect", "w1"),
        (104.0, "worker.dead", "w1"),
        (104.0, "instance.lost", WEB),
        (104.0, "instance.lost", OTHER),
        (105.0, "instance.ready", WEB),
        (105.5, "instance.failed", WEB),
        (108.0, "instance.ready", WEB),
    )
    found = timeline.outcome(CUT, told, None)
    assert (found.detected_s, found.detected_by) == (1.0, "worker.suspect w1")
    assert (found.replaced_s, found.hit, found.replaced) == (None, (WEB, OTHER), 1)
    whole = [*told, Event(99, 109.0, "instance.ready", OTHER, "", cluster="edge")]
    assert timeline.outcome(CUT, whole, None).replaced_s == 9.0


def test_a_worker_of_that_name_elsewhere_is_another() -> None:
    told = [Event(1, 101.0, "worker.dead", "w1", "", cluster="cloud")]
    assert timeline.outcome(CUT, told, None).detected_s is None


def test_nothing_was_hit() -> None:
    found = timeline.outcome(KILL, [], None)
    assert (found.detected_s, found.replaced_s, found.hit) == (None, None, ())


def test_the_next_fault_has_its_own_signs() -> None:
    told = events((120.0, "instance.failed", WEB))
    assert timeline.outcome(KILL, told, None, until=110.0).hit == ()


def test_what_a_later_fault_takes_is_its_own() -> None:
    told = events(
        (100.2, "instance.failed", WEB),
        (102.0, "instance.ready", WEB),
        (111.0, "instance.lost", WEB),
        (113.0, "instance.ready", WEB),
    )
    assert timeline.outcome(KILL, told, None, until=110.0).replaced_s == 2.0
    late = [told[0], *told[2:]]  # it was not ready when the next one came
    assert timeline.outcome(KILL, late, None, until=110.0).replaced_s == 13.0


def ask(at: float, ok: bool, took: float = 0.01) -> Request:
    return Request(at, took, ok)


def test_requests_are_re_routed() -> None:
    asked = [
        ask(98.0, False),  # before it
        ask(99.9, False, 0.5),  # under way
        ask(100.1, False, 1.0),
        ask(100.3, False, 1.0),
        ask(100.5, True, 0.1),
        ask(100.7, True),
    ]
    found = timeline.outcome(KILL, [], asked)
    assert (found.rerouted_s, found.failed, found.requests) == (0.6, 3, 5)


def test_no_request_failed() -> None:
    found = timeline.outcome(KILL, [], [ask(99.0, True), ask(100.2, True), ask(100.4, True)])
    assert (found.rerouted_s, found.failed) == (0.21, 0)


def test_no_request_was_answered_again() -> None:
    found = timeline.outcome(KILL, [], [ask(100.2, False)])
    assert (found.rerouted_s, found.failed) == (None, 1)


def test_what_was_not_made_came_to_nothing() -> None:
    found = timeline.outcome(replace(KILL, error="no route"), events((101, "x", WEB)), [])
    assert (found.error, found.detected_s, found.failed) == ("no route", None, None)


def test_expectations() -> None:
    found = timeline.outcome(
        KILL,
        events((100.2, "instance.failed", WEB), (102.0, "instance.ready", WEB)),
        [ask(100.2, False), ask(101.0, True)],
    )
    assert timeline.broken(found, detected=1, replaced=2, rerouted=2, failed=1) == ()
    said = timeline.broken(found, detected=0.1, replaced=1, rerouted=0.5, failed=0)
    assert len(said) == 4
    assert "0.1 s were expected" in said[0]
    nothing = timeline.outcome(KILL, [], None)
    assert timeline.broken(nothing, detected=5) == ("not detected; 5 s were expected",)
    assert "no instance was lost" in timeline.broken(nothing, replaced=5)[0]


KINDS = st.sampled_from(
    ["instance.failed", "instance.lost", "instance.ready", "instance.running", "worker.dead"]
)
TOLD = st.lists(
    st.tuples(st.floats(90, 130), KINDS, st.sampled_from([WEB, OTHER, "w1", "w2"])), max_size=30
)


@given(TOLD, st.lists(st.tuples(st.floats(90, 130), st.booleans()), max_size=20))
def test_figures_are_never_absurd(
    told: list[tuple[float, str, str]], asked: list[tuple[float, bool]]
) -> None:
    requests = [ask(at, ok) for at, ok in asked]
    found = timeline.outcome(CUT, events(*told), requests)
    assert found.replaced <= len(found.hit)
    assert (found.replaced_s is not None) == (0 < found.replaced == len(found.hit))
    if found.hit:
        assert found.detected_s is not None
    for figure in (found.detected_s, found.rerouted_s, found.replaced_s):
        assert figure is None or 0 <= figure <= 31
    assert found.failed is not None
    assert 0 <= found.failed <= found.requests <= len(requests)
    # In whatever order events come, the same came of it.
    assert timeline.outcome(CUT, events(*told)[::-1], requests[::-1]) == found
