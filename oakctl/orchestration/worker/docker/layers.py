"""Which layers of an image Docker lacks, and the archive that brings just these. Pure.

Belongs here: the archive as `docker load` reads it. It asks for a layer's file only when it has
no layer with all the same ones below, so an archive may leave out what the engine has. Does not
belong here: fetching (`blobs`), or loading (`pushed`).
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from oakctl.model.images import Layer, PlatformImage

BLOCK = 1024 * 1024
# A name that no registry can have: nothing is ever pulled by it.
REPOSITORY = "oakctl.invalid/pushed"


def reference(image: PlatformImage) -> str:
    """What a pushed image is called in a node's Docker: the same for the same content only."""
    return f"{REPOSITORY}:{image.config[:40]}"


def missing(image: PlatformImage, stacks: Iterable[Sequence[str]]) -> tuple[Layer, ...]:
    """The layers that an engine with images of these stacks (diff ids) lacks, lowest first."""
    wanted = [layer.diff_id for layer in image.layers]
    depth = max((_common(wanted, stack) for stack in stacks), default=0)
    return image.layers[depth:]


def archive(
    image: PlatformImage, config: Path, blobs: Sequence[tuple[Layer, Path]]
) -> Iterator[bytes]:
    """The bytes of an archive with these layers of the image; raises OSError."""
    manifest = [
        {
            "Config": f"{image.config}.json",
            "RepoTags": [reference(image)],
            "Layers": [_member(layer) for layer in image.layers],
        }
    ]
    content = json.dumps(manifest).encode()
    yield _header("manifest.json", len(content)) + _padded(content)
    yield from _file(f"{image.config}.json", config)
    written = set()
    for layer, path in blobs:
        if layer.diff_id not in written:  # a layer may be in an image twice
            written.add(layer.diff_id)
            yield from _file(_member(layer), path)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _common(wanted: Sequence[str], stack: Sequence[str]) -> int:
    depth = 0
    for ours, theirs in zip(wanted, stack, strict=False):
        if ours != theirs:
            break
        depth += 1
    return depth


def _member(layer: Layer) -> str:
    return f"{layer.diff_id}/layer.tar"


def _file(name: str, path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        yield _header(name, size)
        while block := file.read(BLOCK):
            yield block
    yield bytes(-size % tarfile.BLOCKSIZE)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf()
