"""From pixels to labels: what is drawn is found and named, whatever the seed and the size."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ar.components import find_boxes
from ar.kinds import KINDS, mask
from ar.labels import UNKNOWN, Labeller
from ar.scaling import factor_for, scale_down
from ar.scene import DrawnScene, PictureFolder, Shot, read_picture, write_picture
from ar.wire import Box
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def right_share(shot: Shot, labeller: Labeller) -> tuple[int, int]:
    """(right, looked for) after all three stages."""
    factor = factor_for(shot.pixels.shape[1])
    small = scale_down(shot.pixels, factor)
    found = [box.scaled(factor, factor) for box in labeller.label(small, find_boxes(small))]
    right = sum(
        any(box.label == thing.label and box.overlap(thing) >= 0.5 for box in found)
        for thing in shot.truth
    )
    return right, max(len(shot.truth), len(found))


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 960), (320, 240), (650, 490)])
def test_what_is_drawn_is_named(width: int, height: int) -> None:
    labeller = Labeller()
    right = looked_for = 0
    for seed in range(12):
        for shot in islice(DrawnScene(width, height, seed).shots(), 0, 90, 9):
            counts = right_share(shot, labeller)
            right, looked_for = right + counts[0], looked_for + counts[1]
    # A frame that is not scaled down is as noisy as it was drawn.
    assert right / looked_for >= 0.97


def test_every_kind_is_named_at_every_size() -> None:
    labeller = Labeller()
    random = np.random.default_rng(7)
    for kind in KINDS:
        for size in range(48, 98, 7):
            frame = np.clip(random.normal(60, 12, (160, 160)), 0, 110).astype(np.uint8)
            drawn = mask(kind, size)
            frame[20 : 20 + size, 21 : 21 + drawn.shape[1]] += drawn.astype(np.uint8) * 90
            small = scale_down(frame, 2)
            (found,) = labeller.label(small, find_boxes(small))
            assert found.label == kind, (kind, size)


def test_the_same_seed_draws_the_same() -> None:
    one, two = (list(islice(DrawnScene(640, 480, 3).shots(), 50)) for _ in range(2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, two, strict=True))
    assert [a.truth for a in one] == [b.truth for b in two]
    assert len({box.label for shot in one for box in shot.truth}) > 1


@given(st.integers(0, 2**31), st.integers(160, 900), st.integers(160, 900))
@settings(max_examples=20, deadline=None)
def test_things_stay_apart_and_inside(seed: int, width: int, height: int) -> None:
    for shot in islice(DrawnScene(width, height, seed).shots(), 0, 60, 20):
        assert shot.pixels.shape == (height, width)
        for index, box in enumerate(shot.truth):
            assert 0 <= box.x0 < box.x1 <= width
            assert 0 <= box.y0 < box.y1 <= height
            assert all(box.overlap(other) == 0 for other in shot.truth[:index])


def test_scenes_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than"):
        DrawnScene(100, 480, 1)


def reference_components(bright: np.ndarray) -> int:
    """Flood fill, eight neighbours, of what is large enough."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(bright), strict=True)}
    count = 0
    while left:
        group, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            group.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        rows = [y for y, _ in group]
        count += max(rows) - min(rows) + 1 >= 8 and len(group) >= 24
    return count


@given(arrays(np.bool_, (14, 16)))
@settings(max_examples=60, deadline=None)
def test_components_are_those_of_a_flood_fill(blocks: np.ndarray) -> None:
    # Blocks with gaps wider than what counts as touching, or none: the answer is exact.
    bright = np.kron(blocks & (np.indices(blocks.shape).sum(0) % 2 == 0), np.ones((6, 6), bool))
    frame = np.where(bright, 200, 20).astype(np.uint8)
    if np.median(frame[::4, ::4]) < 100:
        assert len(find_boxes(frame)) == reference_components(bright)


def test_boxes_fit_their_pixels() -> None:
    frame = np.full((240, 320), 40, np.uint8)
    for y, x in ((0, 0), (200, 280), (100, 50)):
        frame[y : y + 40, x : x + 40] = 180
    assert find_boxes(frame) == [
        Box(0, 0, 40, 40),
        Box(50, 100, 90, 140),
        Box(280, 200, 320, 240),
    ]


def test_noise_alone_has_no_boxes() -> None:
    random = np.random.default_rng(1)
    assert find_boxes(random.integers(0, 256, (240, 320)).astype(np.uint8)) == []
    assert find_boxes(np.zeros((240, 320), np.uint8)) == []


def test_what_looks_like_nothing_is_unknown() -> None:
    frame = np.random.default_rng(2).integers(0, 255, (100, 100)).astype(np.uint8)
    labels = Labeller().label(frame, [Box(10, 10, 60, 60), Box(5, 5, 5, 5)])
    assert [box.label for box in labels] == [UNKNOWN, UNKNOWN]


@given(st.integers(1, 6), arrays(np.uint8, st.tuples(st.integers(6, 40), st.integers(6, 40))))
@settings(max_examples=50, deadline=None)
def test_scaling_keeps_the_mean(factor: int, frame: np.ndarray) -> None:
    small = scale_down(frame, factor)
    height, width = (side // factor for side in frame.shape)
    assert small.shape == (height, width)
    cut = frame[: height * factor, : width * factor].astype(float)
    exact = cut.reshape(height, factor, width, factor).mean((1, 3))
    assert np.all(np.abs(exact - small) < 1)


def test_pictures_and_their_truth(tmp_path: Path) -> None:
    shots = list(islice(DrawnScene(640, 480, 5).shots(), 3))
    for number, shot in enumerate(shots):
        write_picture(tmp_path / f"{number}.pgm", shot.pixels)
    truth = {"1.pgm": [vars(box) for box in shots[1].truth]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    folder = PictureFolder(tmp_path)
    assert (folder.width, folder.height) == (640, 480)
    read = list(islice(folder.shots(), 4))
    assert np.array_equal(read[1].pixels, shots[1].pixels)
    assert [len(shot.truth) for shot in read] == [0, 6, 0, 0]
    assert read[1].truth == shots[1].truth


def test_colours_become_gray(tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 # made by hand\n# twice\n2 1\n255\n" + bytes([255, 255, 255, 255, 0, 0]))
    assert read_picture(path).tolist() == [[255, 76]]


@pytest.mark.parametrize(
    "data", [b"", b"P5 2 2 65535 \0\0", b"P3 1 1 255 1", b"P5\n4 4\n255\nshort", b"P5 x"]
)
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.pgm"):
        read_picture(path)


def test_folders_that_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.pgm or \.ppm"):
        PictureFolder(tmp_path)
    write_picture(tmp_path / "a.pgm", np.zeros((4, 4), np.uint8))
    write_picture(tmp_path / "b.pgm", np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"b\.pgm is not 4x4"):
        list(islice(PictureFolder(tmp_path).shots(), 2))
    for wrong in ("{", "[]", '{"a.pgm": [{"x": 1}]}'):
        (tmp_path / "truth.json").write_text(wrong)
        with pytest.raises(ValueError, match="is not a truth file"):
            PictureFolder(tmp_path)
