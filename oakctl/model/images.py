"""Images that were pushed by an operator: which blobs they are made of, per platform.

Belongs here: the words that root, cluster and worker share about them. Does not belong here:
reading archives (`client.image_archive`), or handing an image to Docker
(`orchestration.worker.docker`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_LAYERS = 127  # what Docker can stack


@dataclass(frozen=True)
class Layer:
    """One layer: the blob that is carried, and the tar that comes out of it."""

    sha256: str  # of the blob, which may be compressed
    size: int  # bytes of the blob
    diff_id: str  # sha256 of the uncompressed tar


@dataclass(frozen=True)
class PlatformImage:
    """An image for one platform."""

    platform: str  # "linux/amd64"
    config: str  # sha256 of its configuration, which is its id
    config_size: int  # bytes
    layers: tuple[Layer, ...]  # the lowest first

    @property
    def blobs(self) -> tuple[str, ...]:
        """The sha256 of everything that it is made of, each once."""
        return tuple(dict.fromkeys((self.config, *(layer.sha256 for layer in self.layers))))

    @property
    def size(self) -> int:
        """Bytes of all its blobs."""
        sizes = {layer.sha256: layer.size for layer in self.layers}
        return self.config_size + sum(sizes.values())


def for_platform(images: tuple[PlatformImage, ...], platform: str) -> PlatformImage | None:
    """The one that runs there; None when there is none."""
    return next((image for image in images if image.platform == platform), None)


def known_as(reference: str) -> str:
    """A reference as Docker understands it: "docker.io/library/a" and "a" are "a:latest"."""
    short = reference.removeprefix("docker.io/").removeprefix("library/")
    last = short.rpartition("/")[2]
    return short if ":" in last or "@" in last else f"{short}:latest"


def fault(image: PlatformImage) -> str:
    """What is wrong with it, in words; empty: it can be taken."""
    sums = (*image.blobs, *(layer.diff_id for layer in image.layers))
    if any(not _SHA256.fullmatch(one) for one in sums):
        return "something in it is not named by a sha256"
    if not re.fullmatch(r"[a-z0-9]+/[a-z0-9]+", image.platform):
        return f"{image.platform!r} is not a platform (like linux/amd64)"
    if not 0 < len(image.layers) <= MOST_LAYERS:
        return f"it has {len(image.layers)} layers; Docker takes 1 to {MOST_LAYERS}"
    if image.config_size <= 0 or any(layer.size <= 0 for layer in image.layers):
        return "something in it is empty"
    return ""
