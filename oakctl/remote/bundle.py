"""Builds the node archive: the code that runs on hosts, in one reproducible file.

The archive is a Python zip application with our node code and its pure-Python dependencies, made
at run time from what is installed here; the sha256 of its bytes is its version. Does not belong
here: how it gets to a host and which one is in force there (`playbooks/base.py`).

Importing from a zip compiles every module at every start: measured, twice the time to start and
4 MiB more per process than from compiled files. So the host unpacks the archive once, into `lib`
beside it, and its `__main__` prefers that; without `lib` it still runs from the zip.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import oakctl
from oakctl import paths
from oakctl.errors import OakError

PACKAGE = Path(oakctl.__file__).resolve().parent

# Our rooms that run on hosts; a folder means all of it.
OUR_PARTS = (
    "__init__.py",
    "errors.py",
    "model",
    "node",
    "overlay",
    "orchestration/__init__.py",
    "orchestration/bus.py",
    "orchestration/copying.py",
    "orchestration/lifecycle.py",
    "orchestration/scheduling",
    "orchestration/sessions.py",
    "orchestration/waits.py",
    "orchestration/cluster",
    "orchestration/worker",
)
# typing_extensions and exceptiongroup are for Python 3.10 there, whatever runs here.
# Docker's SDK and what it needs are imported on hosts that have Docker, by the agent alone.
DISTRIBUTIONS = (
    *("nats-py", "cattrs", "attrs", "typing_extensions", "exceptiongroup"),
    *("docker", "requests", "urllib3", "idna", "certifi"),
)
CARRIED = "oakctl-node.pyz"  # in the data of a program that cannot build one
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can hold
VERSION_LENGTH = 16

MAIN = b'''"""Starts oakctl's node code, from the files unpacked beside this archive or from it."""
import os
import sys

_lib = os.path.join(os.path.dirname(os.path.realpath(sys.path[0])), "lib")
if os.path.isdir(_lib):
    sys.path[0] = _lib

from oakctl.node.__main__ import main  # noqa: E402

sys.exit(main())
'''


def build() -> Path:
    """The archive for this version of the code, in the cache; built when it is not there yet.

    A join program has the one with it that it was made with. Raises OakError when a dependency is
    not installed or is not pure Python.
    """
    carried = PACKAGE / "_data" / CARRIED
    if carried.exists():
        return carried
    content = _content()
    path = paths.private_directory(paths.cache_directory()) / f"oakctl-node-{version(content)}.pyz"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}.new")
        temporary.write_bytes(content)
        temporary.replace(path)
    return path


def version(content: bytes) -> str:
    """The name of an archive's release: the start of its sha256."""
    return hashlib.sha256(content).hexdigest()[:VERSION_LENGTH]


def _content() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        _add(archive, "__main__.py", MAIN)
        for name, file in sorted(_files().items()):
            _add(archive, name, file.read_bytes())
        # Docker is reached by its socket: the SDK asks for this file's place, never for what is
        # in it, and 240 KiB of certificates need not travel.
        _add(archive, "certifi/cacert.pem", b"")
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for part in OUR_PARTS:
        path = PACKAGE / part
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in found:
            files[f"oakctl/{file.relative_to(PACKAGE).as_posix()}"] = file
    for name in DISTRIBUTIONS:
        files.update(_of_distribution(name))
    return files


def _of_distribution(name: str) -> Iterator[tuple[str, Path]]:
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise OakError(
            f"the node archive needs the package {name}, which is not installed",
            hint="pip install --force-reinstall oakctl",
        ) from error
    for entry in distribution.files or ():
        if entry.suffix in {".so", ".pyd"}:
            raise OakError(f"{name} is not pure Python here ({entry}); hosts may have other CPUs")
        if entry.suffix == ".py" and ".." not in entry.parts:
            yield entry.as_posix(), Path(str(entry.locate()))
