"""Archives of images, as `docker save` and tools for OCI write them.

Belongs here: which images are in a tar, for which platforms, and where their layers lie. An
archive is a stranger's: nothing is unpacked, only members that it names are read, and everything
has bounds. Does not belong here: getting one out of Docker, or sending it (`image_push`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.model.images import MOST_LAYERS

LARGEST_JSON = 8 * 1024 * 1024  # bytes of a manifest or a configuration
MOST_MEMBERS = 100_000
MOST_LINKS = 8  # that lead on to one another
DEEPEST_INDEX = 4
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
NAME_KEYS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True)
class ArchivedLayer:
    """A layer in the archive."""

    member: str
    diff_id: str  # sha256 of the uncompressed tar, as the configuration says
    sha256: str = ""  # of the member, where the archive promises one


@dataclass(frozen=True)
class ArchivedImage:
    """An image for one platform."""

    platform: str  # "linux/amd64"
    config: bytes
    layers: tuple[ArchivedLayer, ...]


@dataclass(frozen=True)
class NamedImages:
    """What one name in the archive stands for."""

    name: str  # empty: it has none
    images: tuple[ArchivedImage, ...]


class Archive:
    """An archive that is open; raises NotFound, UsageError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._tar = tarfile.open(path, "r:*")  # noqa: SIM115 (closed by __exit__)
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {path}") from error
        except _DAMAGED as error:
            raise self._not_an_image("it is no tar file") from error
        except OSError as error:
            raise OakError(f"{path} cannot be read: {error.strerror}") from error
        try:
            with self._readable():
                self._members = self._index()
        except BaseException:
            self._tar.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tar.close()

    def contents(self) -> tuple[NamedImages, ...]:
        """Everything in it; raises UsageError when that is no image."""
        with self._readable():
            if "index.json" in self._members and "oci-layout" in self._members:
                found = self._from_oci()
                if found:
                    return found
            if "manifest.json" in self._members:
                return self._from_docker()
        raise self._not_an_image("it has neither a manifest.json nor an index.json with images")

    @contextmanager
    def layer(self, layer: ArchivedLayer) -> Iterator[IO[bytes]]:
        """The bytes of a layer as they are in the archive; raises UsageError."""
        with self._undamaged(), self._open(layer.member) as file:
            yield file

    def _index(self) -> dict[str, tarfile.TarInfo]:
        members: dict[str, tarfile.TarInfo] = {}
        for number, member in enumerate(self._tar):
            if number >= MOST_MEMBERS:
                raise self._not_an_image(f"it has more than {MOST_MEMBERS} members")
            members[posixpath.normpath(member.name)] = member
        return members

    def _from_docker(self) -> tuple[NamedImages, ...]:
        found: dict[str, list[ArchivedImage]] = {}
        for entry in _list(self._json("manifest.json")):
            described = _object(entry)
            members = [str(name) for name in _list(described.get("Layers"))]
            image = self._image(self._bytes(str(described.get("Config", ""))), members)
            for name in _list(described.get("RepoTags") or [""]):
                found.setdefault(str(name), []).append(image)
        return tuple(NamedImages(name, _by_platform(images)) for name, images in found.items())

    def _from_oci(self) -> tuple[NamedImages, ...]:
        found: dict[str, list[ArchivedImage]] = {}
        for entry in _list(_object(self._json("index.json")).get("manifests")):
            described = _object(entry)
            notes = described.get("annotations") or {}
            name = next((str(notes[key]) for key in NAME_KEYS if key in notes), "")
            images = [*self._manifests(described, DEEPEST_INDEX)]
            if images:
                found.setdefault(name, []).extend(images)
        return tuple(NamedImages(name, _by_platform(images)) for name, images in found.items())

    def _manifests(self, descriptor: dict[str, Any], depth: int) -> Iterator[ArchivedImage]:
        """The images below a descriptor; those whose parts are not in the archive are left out."""
        member = _blob(descriptor)
        if member not in self._members or depth == 0:
            return
        content = self._verified(descriptor)
        described = _object(_parsed(content))
        if "manifests" in described:
            for entry in _list(described["manifests"]):
                yield from self._manifests(_object(entry), depth - 1)
            return
        config = _object(described.get("config"))
        layers = [_object(entry) for entry in _list(described.get("layers"))]
        parts = [_blob(config), *(_blob(layer) for layer in layers)]
        if all(part in self._members for part in parts) and _is_image(descriptor, layers):
            yield self._image(
                self._verified(config),
                parts[1:],
                [_digest(layer) for layer in layers],
            )

    def _image(
        self, config: bytes, members: list[str], sums: list[str] | None = None
    ) -> ArchivedImage:
        described = _object(_parsed(config))
        diff_ids = [str(one) for one in _list(_object(described.get("rootfs")).get("diff_ids"))]
        if len(diff_ids) != len(members) or not 0 < len(members) <= MOST_LAYERS:
            raise self._not_an_image(
                f"an image has {len(members)} layers, its configuration tells of {len(diff_ids)}"
            )
        platform = f"{described.get('os', 'linux')}/{described.get('architecture', '')}"
        layers = tuple(
            ArchivedLayer(member, _hex(diff_id), sha256)
            for member, diff_id, sha256 in zip(
                members, diff_ids, sums or [""] * len(members), strict=True
            )
        )
        return ArchivedImage(platform, config, layers)

    def _json(self, name: str) -> Any:
        return _parsed(self._bytes(name))

    def _verified(self, descriptor: dict[str, Any]) -> bytes:
        content = self._bytes(_blob(descriptor))
        if hashlib.sha256(content).hexdigest() != _digest(descriptor):
            raise self._not_an_image(f"{_blob(descriptor)} is damaged")
        return content

    def _bytes(self, name: str) -> bytes:
        with self._open(name) as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise self._not_an_image(f"{name} has more than {LARGEST_JSON} bytes")
        return content

    def _open(self, name: str) -> IO[bytes]:
        place = posixpath.normpath(name)
        for _ in range(MOST_LINKS):  # layers that images share are links in older archives
            member = self._members.get(place)
            if member is None:
                raise self._not_an_image(f"{name} is not in it")
            if member.isreg():
                opened = self._tar.extractfile(member)
                if opened is not None:
                    return opened
            if not (member.issym() or member.islnk()):
                break
            folder = posixpath.dirname(place) if member.issym() else ""
            place = posixpath.normpath(posixpath.join(folder, member.linkname))
        raise self._not_an_image(f"{name} is not a file in it")

    @contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise self._not_an_image(f"it is damaged ({error})") from error

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            with self._undamaged():
                yield
        except (TypeError, AttributeError, ValueError, RecursionError) as error:
            raise self._not_an_image(f"it is not as images are ({error})") from error

    def _not_an_image(self, why: str) -> UsageError:
        return UsageError(
            f"{self.path} is not an archive of an image: {why}",
            hint="docker save IMAGE -o FILE.tar makes one; so do tools that write an OCI layout",
        )


def choose(contents: tuple[NamedImages, ...], name: str) -> NamedImages:
    """The images to push, named. Raises UsageError when it is not clear which, or how named."""
    named = [found for found in contents if found.name == name]
    if name and (named or len(contents) == 1):
        return NamedImages(name, (named or contents)[0].images)
    names = ", ".join(sorted(found.name or "one without a name" for found in contents))
    if len(contents) == 1 and contents[0].name and not name:
        return contents[0]
    if len(contents) == 1:
        raise UsageError(
            "the image in the archive has no name", hint="oakctl image push FILE.tar --as NAME:TAG"
        )
    raise UsageError(
        f"the archive holds several images: {names}",
        hint="oakctl image push FILE.tar --as NAME:TAG takes the one of that name",
    )


def _by_platform(images: list[ArchivedImage]) -> tuple[ArchivedImage, ...]:
    """One for each platform; of several (variants of one processor) the first is taken."""
    found: dict[str, ArchivedImage] = {}
    for image in images:
        found.setdefault(image.platform, image)
    return tuple(found.values())


def _is_image(descriptor: dict[str, Any], layers: list[dict[str, Any]]) -> bool:
    """Not what build tools add beside it: attestations, signatures."""
    platform = descriptor.get("platform") or {}
    kinds = (str(layer.get("mediaType", "")) for layer in layers)
    return platform.get("os") != "unknown" and all(
        "image.layer" in kind or "image.rootfs" in kind for kind in kinds
    )


def _blob(descriptor: dict[str, Any]) -> str:
    return f"blobs/sha256/{_digest(descriptor)}"


def _digest(descriptor: dict[str, Any]) -> str:
    return _hex(str(descriptor.get("digest", "")))


def _hex(digest: str) -> str:
    kind, _, sha256 = digest.partition(":")
    if kind != "sha256" or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ValueError(f"{digest[:80]!r} is not a sha256")
    return sha256


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"no JSON where there should be some: {error}") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:40]!r} where an object should be")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:40]!r} where a list should be")
    return value
