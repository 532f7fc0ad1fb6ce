"""Archives of images: as `docker save` writes them, old and new, and OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURE = "amd64" if os.uname().machine == "x86_64" else "arm64"


@dataclass(frozen=True)
class Built:
    """An image for one platform."""

    layers: tuple[bytes, ...]
    architecture: str = ARCHITECTURE

    @property
    def config(self) -> bytes:
        """Its configuration."""
        described = {
            "architecture": self.architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "sleep", "1000"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(one)}" for one in self.layers]},
        }
        return json.dumps(described).encode()


def sha(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


def layer(files: Mapping[str, bytes]) -> bytes:
    """A layer's tar."""
    return tar(files)


def filler(seed: int, size: int = 200_000) -> bytes:
    """A layer with bytes that do not compress."""
    return layer({f"filler{seed}": random.Random(seed).randbytes(size)})


def tar(members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar with these files, and symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
        for path, target in (links or {}).items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def docker_archive(image: Built, *names: str) -> bytes:
    """As `docker save` of before version 25 writes it."""
    paths = [f"{number}/layer.tar" for number in range(len(image.layers))]
    entry = {"Config": "c.json", "RepoTags": list(names) or None, "Layers": paths}
    members = {"manifest.json": json.dumps([entry]).encode(), "c.json": image.config}
    return tar(members | dict(zip(paths, image.layers, strict=True)))


def oci_layout(images: Sequence[Built], name: str = "", *, packed: bool = True) -> bytes:
    """One name for these platforms, with an attestation beside them, and a platform whose parts
    are elsewhere."""
    blobs: dict[str, bytes] = {}

    def add(kind: str, content: bytes) -> dict[str, Any]:
        blobs[f"blobs/sha256/{sha(content)}"] = content
        return {"mediaType": kind, "digest": f"sha256:{sha(content)}", "size": len(content)}

    def manifest(config: bytes, layers: list[dict[str, Any]]) -> dict[str, Any]:
        described = {"config": add("application/x", config), "layers": layers}
        return add(MANIFEST, json.dumps(described).encode())

    entries = []
    for image in images:
        parts = [
            add(f"{LAYER}+gzip" if packed else LAYER, gzip.compress(one) if packed else one)
            for one in image.layers
        ]
        entries.append(manifest(image.config, parts))
    note = [add("application/vnd.in-toto+json", b"{}")]
    entries.append(manifest(b"{}", note) | {"platform": {"os": "unknown"}})
    entries.append({"mediaType": MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 3})
    top = add(INDEX, json.dumps({"manifests": entries}).encode())
    if name:
        top["annotations"] = {"io.containerd.image.name": name}
    index = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    return tar({"oci-layout": b"{}", "index.json": index, **blobs})


def written(folder: Path, content: bytes, name: str = "image.tar") -> Path:
    """In a file."""
    path = folder / name
    path.write_bytes(content)
    return path
