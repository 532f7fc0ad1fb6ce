"""The parts between pixels and sockets: queue, breaker, checker, settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ar import settings as ar_settings
from ar.breaker import Breaker, Tasks
from ar.checker import Checker
from ar.meters import percentile, prometheus
from ar.queueing import DropOldest
from ar.scene import Shot
from ar.settings import WrongSetting
from ar.wire import BOXES, LABELLED, Box, Header, Malformed, Message, pack_boxes
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(), max_size=30), st.integers(1, 6))
def test_a_full_queue_keeps_the_newest(items: list[int], longest: int) -> None:
    queue: DropOldest[int] = DropOldest(longest, clock=lambda: 0.0)
    for item in items:
        queue.put(item)
    taken = []
    while (found := queue.take(0)) is not None:
        taken.append(found[0])
    assert taken == items[-longest:]
    assert queue.dropped == len(items) - len(taken)


def test_what_waited_too_long_is_dropped() -> None:
    now = 0.0
    queue: DropOldest[str] = DropOldest(stale_s=0.3, clock=lambda: now)
    queue.put("old")
    now = 0.2
    queue.put("new")
    now = 0.4
    assert queue.take(0) == ("new", pytest.approx(0.2))
    assert queue.dropped == 1


def test_the_breaker_opens_after_failures_in_a_row_and_tries_now_and_then() -> None:
    breaker = Breaker(failures=3, recovery_s=1.0)
    for now in (0.0, 0.1):
        breaker.failed(now)
        assert breaker.allows(now)
    breaker.succeeded()
    for now in (0.2, 0.3, 0.4):
        assert not breaker.open
        breaker.failed(now)
    assert breaker.open
    assert not breaker.allows(1.3)
    assert breaker.allows(1.4)
    assert not breaker.allows(1.5)
    breaker.failed(1.8)
    assert breaker.allows(2.4)
    breaker.succeeded()
    assert breaker.allows(2.41)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.5)), max_size=60))
def test_an_open_breaker_sends_at_most_one_task_per_recovery(
    story: list[tuple[bool, float]],
) -> None:
    breaker, now, last = Breaker(), 0.0, -1.0
    for fails, pause in story:
        now += pause
        if breaker.open and breaker.allows(now):
            assert now - last >= breaker.recovery_s - 1e-9
            last = now
        if fails:
            breaker.failed(now)
            last = max(last, now) if not breaker.open else last


def test_tasks_are_answered_or_overdue_once() -> None:
    tasks: Tasks[str] = Tasks(patience_s=0.4)
    tasks.sent(1, "one", 0.0)
    tasks.sent(2, "two", 0.1)
    assert tasks.answered(1)
    assert not tasks.answered(1)
    assert tasks.overdue(0.49) == []
    assert tasks.overdue(0.5) == ["two"]
    assert tasks.overdue(9) == []
    assert not tasks.answered(2)


THING = Box(100, 100, 160, 160, "A")
OTHER = Box(300, 300, 360, 360, "disc")


def result(frame: int, boxes: list[Box], kind: int = LABELLED) -> Message:
    """As it comes back: in half the size."""
    small = [box.scaled(0.5, 0.5) for box in boxes]
    header = Header(kind, frame, 0.0, 320, 240, ("127.0.0.1", 1))
    return Message(header, pack_boxes(small))


def shown(*truth: Box) -> Shot:
    return Shot(np.zeros((480, 640), np.uint8), truth)


@pytest.mark.parametrize(
    ("boxes", "ratio"),
    [
        ([THING, OTHER], 1.0),
        ([THING], 0.5),
        ([], 0.0),
        ([THING, OTHER, Box(0, 0, 20, 20, "A")], 2 / 3),
        ([THING, THING], 0.5),
        ([Box(100, 100, 160, 160, "C"), OTHER], 0.5),
        ([Box(140, 140, 200, 200, "A"), OTHER], 0.5),
    ],
)
def test_the_share_of_right_labels(boxes: list[Box], ratio: float) -> None:
    checker = Checker(640, 480)
    checker.sent(1, shown(THING, OTHER))
    checker.answered(result(1, boxes))
    assert checker.metrics()["ar_labels_right_ratio"] == pytest.approx(ratio)


def test_labels_that_come_after_boxes_replace_them() -> None:
    checker = Checker(640, 480)
    checker.sent(1, shown(THING))
    plain = [Box(100, 100, 160, 160)]
    checker.answered(result(1, plain, BOXES))
    first = checker.metrics()
    assert (first["ar_frames_total"], first["ar_unlabelled_total"]) == (1, 1)
    assert first["ar_labels_right_ratio"] == 0
    checker.answered(result(1, [THING]))
    checker.answered(result(1, plain, BOXES))
    checker.answered(result(1, [THING]))
    last = checker.metrics()
    assert last["ar_frames_total"] == 1
    assert last["ar_labels_right_ratio"] == 1
    assert last["ar_latency_p50_ms"] == first["ar_latency_p50_ms"]


def test_results_of_frames_that_nobody_sent_do_not_count() -> None:
    checker = Checker(640, 480)
    checker.answered(result(5, [THING]))
    assert checker.metrics()["ar_frames_total"] == 0
    checker.sent(1, shown(THING))
    with pytest.raises(Malformed):
        checker.answered(Message(Header(LABELLED, 1, 0.0, 320, 240, ("127.0.0.1", 1)), b""))


def test_the_view_is_the_newest_answered_frame() -> None:
    checker = Checker(640, 480)
    assert json.loads(checker.view())["boxes"] == []
    for frame in (1, 2):
        checker.sent(frame, shown(THING))
    checker.answered(result(2, [THING]))
    checker.answered(result(1, []))
    view = json.loads(checker.view())
    assert (view["frame"], view["width"], view["height"]) == (2, 160, 120)
    assert view["boxes"] == [{"x0": 25, "y0": 25, "x1": 40, "y1": 40, "label": "A", "right": True}]


def test_settings_have_defaults_and_are_checked() -> None:
    found = ar_settings.read({"OAKCTL_INSTANCE": "ar.demo.Pre.demo.instance.3"})
    assert (found.bind, found.fps, found.width, found.height) == ("127.0.0.1", 15, 640, 480)
    assert (found.number, found.chunk_bytes, found.service_s) == (3, 1200, 0)
    read = ar_settings.read(
        {"AR_PICTURES": "/x", "AR_SERVICE_MS": "5", "OAKCTL_ADDR_OBJ": "1.2.3.4"}
    )
    assert (read.pictures, read.service_s) == (Path("/x"), 0.005)
    assert read.next_stage("Obj", 9) == ("1.2.3.4", 9)
    assert read.reached_at(("1.2.3.4", 9)) == read.bind
    inside = ar_settings.read({"OAKCTL_BIND": "0.0.0.0", "AR_NEXT": "127.0.0.1"})
    assert inside.next_stage("Rec", 9) == ("127.0.0.1", 9)
    assert inside.reached_at(("127.0.0.1", 9)) == "127.0.0.1"
    with pytest.raises(WrongSetting, match="OAKCTL_ADDR_REC is not set"):
        read.next_stage("Rec", 9)
    for wrong in ({"AR_FPS": "x"}, {"AR_WIDTH": "10"}, {"AR_FPS": "nan"}):
        with pytest.raises(WrongSetting, match="AR_"):
            ar_settings.read(wrong)


def test_numbers_for_people_and_machines() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1, 2], 0.95) == 2
    text = prometheus({"ar_in_total": 3, "ar_fps": 1.5}).decode()
    assert text.splitlines() == [
        "# TYPE ar_in_total counter",
        "ar_in_total 3",
        "# TYPE ar_fps gauge",
        "ar_fps 1.5",
    ]
