"""Adding up what clients measure, and pictures from instances that are not trusted."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.demo import watch
from oakctl.demo.observer import Box
from oakctl.demo.watch import CLIENT_WINDOW_S, Figures
from oakctl.model.instance import InstanceState
from oakctl.model.views import InstanceView


def client(at: float, frames: float, right: float, number: int = 0) -> InstanceView:
    return InstanceView(
        name=f"ar.demo.Client.demo.instance.{number}",
        job_name="ar.demo.Client.demo",
        number=number,
        epoch=1,
        state=InstanceState.RUNNING,
        ready=True,
        since=0.0,
        metrics={
            "ar_frames_total": frames,
            "ar_fps": 15.0,
            "ar_latency_p50_ms": 5.0,
            "ar_latency_p95_ms": 500.0 if right < 1 else 9.0,
            "ar_labels_right_ratio": right,
        },
        metrics_at=at,
    )


def test_the_start_of_the_pipeline_is_left_out() -> None:
    figures = Figures()
    figures.add([client(10, 0, 0.0)])
    assert not figures.labelled
    for at, frames, right in ((12, 30, 0.4), (14, 60, 0.8), (17, 105, 1.0), (20, 150, 1.0)):
        figures.add([client(at, frames, right)])
    total = figures.total()
    assert figures.labelled
    assert (total.frames, total.fps, total.labels_right) == (150, 15.0, 1.0)
    assert total.latency_p95_ms == 9.0


def test_old_figures_and_none_at_all_are_nothing_new() -> None:
    figures = Figures()
    assert figures.add([]) is None
    assert figures.add([client(1, 0, 1.0)]) is not None
    assert figures.add([client(1, 0, 1.0)]) is None
    assert figures.total().labels_right == 1.0


def test_several_clients_are_added_up() -> None:
    figures = Figures()
    for at in (10.0, 20.0):
        sample = figures.add([client(at, at * 15, 1.0, number) for number in (0, 1)])
    assert sample is not None
    assert sample.fps == 30.0
    assert (figures.total().frames, figures.total().fps) == (300, 30.0)


@given(st.lists(st.tuples(st.floats(0.5, 3), st.integers(0, 50)), min_size=1, max_size=20))
def test_a_restarted_client_never_makes_frames_negative(
    steps: list[tuple[float, int]],
) -> None:
    figures, at = Figures(), 0.0
    for pause, frames in steps:
        at += pause
        figures.add([client(at, frames, 1.0)])
    total = figures.total()
    assert total.frames >= 0
    assert total.fps >= 0
    assert at < CLIENT_WINDOW_S or total.labels_right == 1.0


PICTURE = {
    "width": 2,
    "height": 1,
    "pixels": base64.b64encode(b"\x00\xff").decode(),
    "boxes": [{"x0": 0, "y0": 0, "x1": 1, "y1": 1, "label": "A", "right": True}],
    "frame": 7,
}


def test_a_picture_is_read() -> None:
    picture = watch.read_picture(json.dumps(PICTURE).encode())
    assert picture is not None
    assert (picture.width, picture.height, picture.pixels) == (2, 1, b"\x00\xff")
    assert picture.boxes == (Box(0, 0, 1, 1, "A", True),)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 3},
        {"width": 0, "pixels": ""},
        {"width": 1 << 20, "height": 1 << 20},
        {"pixels": "not base64!"},
        {"boxes": [{"x0": "far"}]},
        {"boxes": None},
        {"frame": None},
    ],
)
def test_what_is_no_picture_is_none(change: dict[str, object]) -> None:
    assert watch.read_picture(json.dumps(PICTURE | change).encode()) is None
    assert watch.read_picture(b"\xff") is None
    assert watch.read_picture(b"[]") is None
