"""Runs our long-lived processes from files beside the archive instead of from the archive.

Python keeps no bytecode for modules in a zip: every start compiles them all, which costs about
4 MiB that are never given back and, on a small board, seconds. So the first start unzips the
archive beside itself and compiles what its command needs, in a process of its own; then this
process becomes the one that runs from there. Where that is not possible (a full disk), the
archive itself runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import zipfile
import zipimport
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

log = logging.getLogger("oakctl.node")

COMPILE_TIMEOUT_S = 120.0  # a small board takes its time


def become(package: ModuleType, module: str, argv: Sequence[str]) -> None:
    """Run `argv` from files, with `module` and all it needs compiled.

    Returns only when `package` was not imported from an archive, or when that fails.
    """
    loader = package.__spec__.loader if package.__spec__ else None
    if not isinstance(loader, zipimport.zipimporter):
        return
    archive = Path(loader.archive)
    try:
        directory = unzip(archive)
        _compile(directory, module)
        os.execv(sys.executable, [sys.executable, str(directory), *argv])  # noqa: S606
    except (OSError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
        log.warning("runs from %s itself: %s", archive, error)


def unzip(archive: Path) -> Path:
    """The archive's content as files, in a directory of its own beside it; made once."""
    archive = archive.resolve()
    status = archive.stat()
    tag = f"{sys.implementation.cache_tag}-{status.st_size:x}-{status.st_mtime_ns:x}"
    directory = archive.parent / f".{archive.name}.{tag}"
    if directory.is_dir():
        return directory
    temporary = archive.parent / f"{directory.name}.{os.getpid()}"
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(temporary)
        # Another process of ours may have been quicker; its directory is the same.
        with contextlib.suppress(OSError):
            temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _compile(directory: Path, module: str) -> None:
    done = directory / f".compiled-{module}"
    if done.exists():
        return
    code = f"import sys; sys.path.insert(0, {str(directory)!r}); import {module}"
    subprocess.run(
        [sys.executable, "-I", "-c", code],
        check=True,
        timeout=COMPILE_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    done.touch()
