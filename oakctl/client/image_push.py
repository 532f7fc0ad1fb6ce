"""Pushing an image: only those layers go to the root that it has from no image yet.

Belongs here: comparing, packing layers for the way, uploading. Layers travel compressed; what the
archive has uncompressed is packed here, the same bytes each time. Does not belong here: archives
(`image_archive`), and the way to clusters (the root's).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from oakctl.client import image_source
from oakctl.client.image_archive import Archive, ArchivedImage, ArchivedLayer, NamedImages
from oakctl.client.root import RootClient
from oakctl.errors import OakError, UsageError
from oakctl.model.images import Layer, PlatformImage
from oakctl.model.requests import ImagePush
from oakctl.model.views import ImageView

BLOCK = 1024 * 1024
LEVEL = 6
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    image: ImageView
    layers: int  # of all its platforms, each once
    sent_layers: int
    sent_bytes: int  # to the root, of layers and configurations


class Told(Protocol):
    """Who hears how it goes."""

    def __call__(self, message: str) -> None:
        """One line."""


async def push(client: RootClient, archive: Archive, chosen: NamedImages, tell: Told) -> Pushed:
    """Upload what the root does not have, and have the image known by its name."""
    wanted = {layer.diff_id: layer for image in chosen.images for layer in image.layers}
    known = {layer.diff_id: layer for layer in await client.images.known_layers([*wanted])}
    missing = [layer for diff_id, layer in wanted.items() if diff_id not in known]
    tell(f"{chosen.name}: {len(wanted)} layers, {len(missing)} to send")
    sent = 0
    with image_source.staging() as folder:
        for number, layer in enumerate(missing, 1):
            file = folder / "layer"
            packed = await asyncio.to_thread(_staged, archive, layer, file)
            tell(f"layer {number} of {len(missing)}: {packed.size} bytes")
            await client.upload_artifact(file)
            sent += packed.size
            known[layer.diff_id] = packed
        for image in chosen.images:
            file = folder / "config"
            file.write_bytes(image.config)
            await client.upload_artifact(file)
            sent += len(image.config)
    described = tuple(_described(image, known) for image in chosen.images)
    view = await client.images.put(ImagePush(chosen.name, described))
    return Pushed(view, len(wanted), len(missing), sent)


def pack(archive: Archive, layer: ArchivedLayer, target: Path) -> Layer:
    """Write a layer's blob; raises UsageError when it is not what the archive says."""
    with archive.layer(layer) as source, target.open("wb") as file:
        start = source.read(4)
        source.seek(0)
        if start.startswith((GZIP, ZSTD)):
            blob, size, content = _copied(source, file, gzipped=start.startswith(GZIP))
        else:
            blob, size, content = _compressed(source, file)
    if (content and content != layer.diff_id) or (
        layer.sha256 and content != layer.sha256 and blob != layer.sha256
    ):
        raise UsageError(f"{archive.path}: the layer {layer.member} is damaged")
    return Layer(blob, size, layer.diff_id)


def _staged(archive: Archive, layer: ArchivedLayer, target: Path) -> Layer:
    try:
        return pack(archive, layer, target)
    except OSError as error:
        raise OakError(f"layer {layer.member} can't be packed: {error}") from error


def _compressed(source: IO[bytes], target: IO[bytes]) -> tuple[str, int, str]:
    """(sha256 and size of what is written, sha256 of what was read)."""
    read, counted = hashlib.sha256(), _Counted(target)
    with gzip.GzipFile("", "wb", LEVEL, counted, mtime=0) as packed:
        while block := source.read(BLOCK):
            read.update(block)
            packed.write(block)
    return counted.digest.hexdigest(), counted.size, read.hexdigest()


def _copied(source: IO[bytes], target: IO[bytes], *, gzipped: bool) -> tuple[str, int, str]:
    """As `_compressed`, for what is so already. Zstandard is left to Docker to look into."""
    counted, inside = _Counted(target), _Inside()
    while block := source.read(BLOCK):
        counted.write(block)
        if gzipped:
            inside.take(block)
    return counted.digest.hexdigest(), counted.size, inside.digest.hexdigest() if gzipped else ""


class _Counted:
    """A file that is written, its size and sha256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, block: bytes) -> int:
        self.digest.update(block)
        self.size += len(block)
        return self._file.write(block)

    def flush(self) -> None:
        self._file.flush()


class _Inside:
    """The sha256 of what gzip has packed, in pieces of bounded size."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._unpacker = zlib.decompressobj(wbits=31)

    def take(self, block: bytes) -> None:
        while block:
            self.digest.update(self._unpacker.decompress(block, BLOCK))
            block = self._unpacker.unconsumed_tail
            if self._unpacker.eof:  # another member may follow
                block = self._unpacker.unused_data
                self._unpacker = zlib.decompressobj(wbits=31)


def _described(image: ArchivedImage, known: dict[str, Layer]) -> PlatformImage:
    return PlatformImage(
        image.platform,
        hashlib.sha256(image.config).hexdigest(),
        len(image.config),
        tuple(known[layer.diff_id] for layer in image.layers),
    )
