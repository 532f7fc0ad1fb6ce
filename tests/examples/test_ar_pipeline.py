"""The four stages as processes, end to end on loopback: labels right, Rec away, Rec back."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from ar.scene import DrawnScene, write_picture

from .pipeline import APP, Pipeline, wait_for


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Makes pipelines that are ended with the test."""
    made: list[Pipeline] = []

    def make(**environment: str) -> Pipeline:
        made.append(Pipeline(tmp_path, **environment))
        return made[-1]

    yield make
    for one in made:
        one.close()


def labelled_right(running: Pipeline, frames: int) -> None:
    """Wait for this many more frames, and then for nearly all labels to be right."""
    since = running.metrics("client")["ar_frames_total"]
    wait_for(
        f"{frames} frames with right labels",
        lambda: (
            (found := running.metrics("client"))["ar_frames_total"] - since >= frames
            and found["ar_labels_right_ratio"] >= 0.97
        ),
    )


def test_labels_vanish_with_rec_and_return_with_it(pipeline: Callable[..., Pipeline]) -> None:
    running = pipeline()
    running.start("rec", "obj", "pre", "client")
    labelled_right(running, 30)
    view = running.view()
    assert len(base64.b64decode(view["pixels"])) == view["width"] * view["height"]
    assert view["boxes"]
    for stage in ("pre", "obj", "rec"):
        found = running.metrics(stage)
        assert found["ar_in_total"] >= found["ar_out_total"] > 0
        assert found["ar_service_time_ms"] > 0
    assert running.metrics("client")["ar_latency_p95_ms"] > 0

    running.kill("rec")
    before = running.metrics("client")["ar_unlabelled_total"]
    wait_for(
        "boxes without labels",
        lambda: running.metrics("client")["ar_unlabelled_total"] - before >= 20,
    )
    view = running.view()
    assert {box["label"] for box in view["boxes"]} == {""}
    wait_for(
        "no label to be right", lambda: running.metrics("client")["ar_labels_right_ratio"] == 0
    )

    running.start("rec")
    labelled_right(running, 30)


def test_small_datagrams_and_large_frames(pipeline: Callable[..., Pipeline]) -> None:
    running = pipeline(AR_CHUNK_BYTES="1200", AR_WIDTH="1280", AR_HEIGHT="720", AR_FPS="5")
    running.start("rec", "obj", "pre", "client")
    labelled_right(running, 10)


def test_a_stage_that_is_away_and_comes_back(pipeline: Callable[..., Pipeline]) -> None:
    running = pipeline()
    running.start("rec", "obj", "client")
    wait_for("frames to be sent", lambda: running.metrics("client")["ar_sent_total"] >= 20)
    assert running.metrics("client")["ar_frames_total"] == 0
    running.start("pre")
    labelled_right(running, 20)


def test_a_declared_service_time_is_taken(pipeline: Callable[..., Pipeline]) -> None:
    running = pipeline(AR_SERVICE_MS="20", AR_FPS="5")
    running.start("rec", "obj", "pre", "client")
    labelled_right(running, 5)
    assert running.metrics("obj")["ar_service_time_ms"] >= 20


def test_a_picture_sequence_with_its_truth(
    pipeline: Callable[..., Pipeline], tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    truth = {}
    for number, shot in enumerate(islice(DrawnScene(640, 480, 11).shots(), 10)):
        write_picture(folder / f"{number:03}.pgm", shot.pixels)
        truth[f"{number:03}.pgm"] = [vars(box) for box in shot.truth]
    (folder / "truth.json").write_text(json.dumps(truth))
    running = pipeline(AR_PICTURES=str(folder))
    running.start("rec", "obj", "pre", "client")
    labelled_right(running, 20)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "usage: main.py pre|obj|rec|client"),
        (["nothing"], {}, "usage: main.py pre|obj|rec|client"),
        (["pre"], {}, "pre: OAKCTL_ADDR_OBJ is not set: `connectivity` has to name Obj"),
        (["rec"], {"AR_FPS": "many"}, "rec: AR_FPS: 'many' is not a number"),
        (["rec"], {"OAKCTL_BIND": "192.0.2.1"}, "192.0.2.1:0/udp: Cannot assign"),
    ],
)
def test_a_stage_that_cannot_start_says_why(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-B", str(APP / "main.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
