"""Artifacts: what a `process` service runs, as one file named by its sha256.

A folder with `oakctl-artifact.toml` is packed together with the installed packages that it
names (`vendor`), so that a host needs no index and no pip:

    name = "ar"
    command = ["{python}", "{artifact}/main.py"]
    vendor = ["numpy"]                # copied from this Python's installed distributions
    leave_out = ["numpy/f2py/*"]      # of the vendored files, besides tests and type stubs

Packages lie beside the folder's own files, where a script finds them by itself. The same input
gives the same bytes. Belongs here: packing, the cache of what was packed, reading manifests.
Does not belong here: uploading, or unpacking on a host.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import tomllib

from oakctl.errors import NotFound, OakError

DESCRIPTION = "oakctl-artifact.toml"
MANIFEST = "oakctl-artifact.json"
FORMAT = 1  # part of the cache's key: raised when the same input is packed differently
LARGEST_MANIFEST = 64 * 1024  # bytes

# Of vendored packages: what no program needs to run.
_LEFT_OUT = ("tests/*", "*/tests/*", "*/test/*", "*.pyi", "*/include/*", "*.a", "*.pyc", "*.lib")
_LEFT_OUT_FOLDERS = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".venv"}
_KEYS: dict[str, type[str] | type[list[Any]]] = {
    "name": str,
    "command": list,
    "vendor": list,
    "leave_out": list,
    "python": str,
    "architectures": list,
}


@dataclass(frozen=True)
class Manifest:
    """`oakctl-artifact.json`. `python` "" and no `architectures`: it runs on any."""

    name: str
    command: tuple[str, ...]
    python: str = ""
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackedArtifact:
    """An artifact on the operator's disk."""

    path: Path
    sha256: str
    size: int  # bytes
    manifest: Manifest


@dataclass(frozen=True)
class _Entry:
    """A file that goes into an artifact."""

    name: str
    source: Path
    vendored: bool

    def fingerprint(self) -> str:
        """What changes when the file does; reading all of a package each time costs too much."""
        status = self.source.stat()
        if self.vendored:
            content = f"{status.st_size} {status.st_mtime_ns}"
        else:
            content = hashlib.sha256(self.source.read_bytes()).hexdigest()
        return f"{self.name} {_mode(self.source):o} {content}"


def resolve(reference: str, base: Path, cache: Path) -> PackedArtifact:
    """The artifact that a descriptor names: a folder is packed, a .tar.gz is read.

    `reference` is relative to `base`, the descriptor's folder. Raises NotFound or OakError.
    """
    path = base / Path(reference).expanduser()
    if path.is_dir():
        return pack(path, cache)
    if not path.is_file():
        raise NotFound(
            f"the artifact {reference} is not there: {path}",
            hint="`code` is relative to the descriptor's folder",
        )
    manifest = read_manifest(path)
    return PackedArtifact(path, _digest(path), path.stat().st_size, manifest)


def pack(directory: Path, cache: Path) -> PackedArtifact:
    """Pack `directory` into `cache`, or find it there. Raises OakError with what is wrong."""
    description = _read_description(directory)
    entries = _collect(directory, description)
    manifest = _manifest_of(description, entries)
    key = _key(manifest, entries)
    cached = _find(cache, key, manifest)
    if cached is not None:
        return cached
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _write(cache, key, manifest, entries)
    except OSError as error:
        raise OakError(f"{directory} cannot be packed into {cache}: {error}") from error


def read_manifest(archive: Path) -> Manifest:
    """The manifest of a packed artifact, all of it looked through for unsafe members.

    Raises OakError when it is no artifact.
    """
    hint = f"an artifact is packed from a folder with {DESCRIPTION}: give the folder as `code`"
    found: bytes | None = None
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for member in opened:
                # Says which member would leave the folder it is unpacked in, or is a device.
                tarfile.data_filter(member, "/nowhere")
                if PurePosixPath(member.name) == PurePosixPath(MANIFEST):
                    content = opened.extractfile(member)
                    found = content.read(LARGEST_MANIFEST + 1) if content else None
    except tarfile.FilterError as error:
        raise OakError(f"{archive} is refused: {error}") from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise OakError(f"{archive} is not a readable .tar.gz: {error}", hint=hint) from error
    if found is None:
        raise OakError(f"{archive} has no {MANIFEST}", hint=hint)
    return _parse_manifest(archive, found)


def _parse_manifest(archive: Path, content: bytes) -> Manifest:
    try:
        if len(content) > LARGEST_MANIFEST:
            raise ValueError(f"more than {LARGEST_MANIFEST} bytes")
        data = json.loads(content)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        manifest = Manifest(
            data.get("name", ""),
            tuple(data.get("command", ())),
            data.get("python", ""),
            tuple(data.get("architectures", ())),
        )
        _check_manifest(manifest)
    except (ValueError, TypeError, RecursionError) as error:
        raise OakError(f"{MANIFEST} in {archive} is wrong: {error}") from error
    return manifest


def _check_manifest(manifest: Manifest) -> None:
    if not manifest.command:
        raise ValueError("command is missing: the program and its arguments")
    texts = (manifest.name, manifest.python, *manifest.command, *manifest.architectures)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("name, python, command and architectures hold strings alone")


# --- the folder ----------------------------------------------------------------------------


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"{directory} has no {DESCRIPTION}",
            hint='write one: command = ["{python}", "{artifact}/main.py"]',
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise OakError(f"{path} cannot be read: {error}") from error
    faults = tuple(_description_faults(data))
    if faults:
        raise OakError(f"{path} is wrong", details=faults)
    return {"name": directory.resolve().name, **data}


def _description_faults(data: dict[str, Any]) -> Iterator[str]:
    if "command" not in data:
        yield "command: is missing"
    for key, value in data.items():
        kind = _KEYS.get(key)
        if kind is None:
            yield f"{key}: is not one of {', '.join(_KEYS)}"
        elif not isinstance(value, kind):
            yield f"{key}: {value!r} is not a {'list' if kind is list else 'string'}"
        elif isinstance(value, list) and not all(isinstance(part, str) for part in value):
            yield f"{key}: holds something that is not a string"
        elif key == "command" and not value:
            yield "command: is empty"


def _collect(directory: Path, description: dict[str, Any]) -> tuple[_Entry, ...]:
    entries: dict[str, _Entry] = {}
    found = [*_own_files(directory)]
    for name in description.get("vendor", ()):
        found += _vendored_files(name, tuple(description.get("leave_out", ())))
    for entry in found:
        if entry.name in entries:
            raise OakError(
                f"{entry.name} comes from both {entries[entry.name].source} and {entry.source}",
                hint=f"rename it in {directory}",
            )
        entries[entry.name] = entry
    return tuple(entries[name] for name in sorted(entries))


def _own_files(directory: Path) -> Iterator[_Entry]:
    inside = directory.resolve()
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if _LEFT_OUT_FOLDERS.intersection(relative.parts) or path.is_dir():
            continue
        if not path.resolve().is_relative_to(inside) or not path.is_file():
            raise OakError(f"{path} leads out of {directory}, or is no file")
        if relative.as_posix() != DESCRIPTION:
            yield _Entry(relative.as_posix(), path, vendored=False)


def _vendored_files(name: str, leave_out: tuple[str, ...]) -> list[_Entry]:
    hint = f"install it in the Python that runs oakctl: {sys.executable} -m pip install {name}"
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise NotFound(f"the package {name} is not installed here", hint=hint) from None
    entries = []
    for file in distribution.files or ():
        path = PurePosixPath(file.as_posix())
        # "../../../bin/f2py": scripts outside of site-packages.
        if path.is_absolute() or ".." in path.parts or _is_left_out(path, leave_out):
            continue
        source = Path(str(distribution.locate_file(file)))
        if source.is_file():
            entries.append(_Entry(path.as_posix(), source, vendored=True))
    if all(".dist-info/" in entry.name or entry.name.endswith(".pth") for entry in entries):
        raise OakError(f"the installed package {name} does not list its files", hint=hint)
    return entries


def _is_left_out(path: PurePosixPath, leave_out: tuple[str, ...]) -> bool:
    if _LEFT_OUT_FOLDERS.intersection(path.parts):
        return True
    # Of the installation's own records, names and licences travel; paths of this machine do not.
    if path.parts[0].endswith(".dist-info") and path.name in ("RECORD", "direct_url.json"):
        return True
    return any(fnmatch.fnmatchcase(str(path), pattern) for pattern in (*_LEFT_OUT, *leave_out))


def _manifest_of(description: dict[str, Any], entries: tuple[_Entry, ...]) -> Manifest:
    """Compiled packages pin what they were compiled for, unless the folder says otherwise."""
    compiled = [entry.name for entry in entries if entry.vendored and entry.name.endswith(".so")]
    python, architectures = "", []
    if compiled:
        architectures = [platform.machine()]
    if any(".cpython-" in name for name in compiled):
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Manifest(
        name=description["name"],
        command=tuple(description["command"]),
        python=description.get("python", python),
        architectures=tuple(description.get("architectures", architectures)),
    )


# --- the file ------------------------------------------------------------------------------


def _key(manifest: Manifest, entries: tuple[_Entry, ...]) -> str:
    digest = hashlib.sha256(f"{FORMAT}\n{_encode(manifest)!r}\n".encode())
    for entry in entries:
        digest.update(f"{entry.fingerprint()}\n".encode())
    return digest.hexdigest()


def _find(cache: Path, key: str, manifest: Manifest) -> PackedArtifact | None:
    """What an earlier call packed, if its bytes are still the ones it is named by."""
    try:
        sha256 = (cache / f"{key}.key").read_text().strip()
        path = cache / f"{sha256}.tar.gz"
        if _digest(path) != sha256:
            return None
        return PackedArtifact(path, sha256, path.stat().st_size, manifest)
    except (OSError, UnicodeDecodeError):
        return None


def _write(
    cache: Path, key: str, manifest: Manifest, entries: tuple[_Entry, ...]
) -> PackedArtifact:
    with tempfile.NamedTemporaryFile(dir=cache, prefix=".packing-", delete=False) as temporary:
        unfinished = Path(temporary.name)
        try:
            _write_archive(temporary.file, manifest, entries)
            temporary.flush()
            sha256 = _digest(unfinished)
            path = cache / f"{sha256}.tar.gz"
            size = unfinished.stat().st_size
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    # Another call may do the same at once; both end with the same two files.
    pointer = cache / f".{key}.{os.getpid()}"
    pointer.write_text(sha256)
    pointer.replace(cache / f"{key}.key")
    return PackedArtifact(path, sha256, size, manifest)


def _write_archive(target: IO[bytes], manifest: Manifest, entries: tuple[_Entry, ...]) -> None:
    with (
        gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        # First, so that whoever wants only the manifest need not read on.
        _add(archive, MANIFEST, 0o644, _encode(manifest))
        for entry in entries:
            _add(archive, entry.name, _mode(entry.source), entry.source.read_bytes())


def _add(archive: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    """A member without an owner and without a time."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    archive.addfile(member, io.BytesIO(content))


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _encode(manifest: Manifest) -> bytes:
    return json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
