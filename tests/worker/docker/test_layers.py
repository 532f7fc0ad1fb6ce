"""Which layers are lacking, and the archive that brings them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from oakctl.model.images import Layer, PlatformImage
from oakctl.orchestration.worker.docker import layers

SUMS = [f"{number:064x}" for number in range(4)]
STACKS = st.lists(st.sampled_from(SUMS), max_size=5)


def image(stack: list[str]) -> PlatformImage:
    return PlatformImage("linux/amd64", "c" * 64, 10, tuple(Layer(s, 5, s) for s in stack))


@given(STACKS, st.lists(STACKS, max_size=4))
def test_what_is_lacking_lies_on_what_is_there(stack: list[str], there: list[list[str]]) -> None:
    lacking = [one.diff_id for one in layers.missing(image(stack), there)]
    below = stack[: len(stack) - len(lacking)]
    assert below + lacking == stack
    assert not below or any(other[: len(below)] == below for other in there)
    one_more = stack[: len(below) + 1]
    assert not lacking or all(other[: len(one_more)] != one_more for other in there)


def test_the_archive_names_every_layer_and_has_those_given(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"{}")
    (tmp_path / "blob").write_bytes(b"x" * 513)
    wanted = image([SUMS[0], SUMS[1], SUMS[1]])
    given_ = [(one, tmp_path / "blob") for one in wanted.layers[1:]]
    content = b"".join(layers.archive(wanted, tmp_path / "config", given_))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        (entry,) = json.load(archive.extractfile("manifest.json") or io.BytesIO())
        assert archive.getmember(f"{SUMS[1]}/layer.tar").size == 513
    assert names == ["manifest.json", entry["Config"], f"{SUMS[1]}/layer.tar"]
    assert entry["Layers"] == [f"{one}/layer.tar" for one in (SUMS[0], SUMS[1], SUMS[1])]
    assert entry["RepoTags"] == [layers.reference(wanted)]
