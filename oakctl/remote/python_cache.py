"""Standalone Pythons in the operator's cache: added once, pushed to hosts that need one.

Below `python/` in the cache lie, for each, the archive as `<sha256>.tar.gz` and what it is as
`<sha256>.json`. Belongs here: adding, listing, taking out, reading. Does not belong here: what an
archive is (`python_archive`), which one suits a host (`interpreter`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from oakctl import paths
from oakctl.errors import NotFound, OakError
from oakctl.model import wire
from oakctl.remote import python_archive
from oakctl.remote.interpreter import PythonArchive


def directory() -> Path:
    """Where they lie."""
    return paths.private_directory(paths.private_directory(paths.cache_directory()) / "python")


def add(file: Path) -> PythonArchive:
    """Keep a copy of this archive; one that is there already counts as added last.

    Raises NotFound, UsageError when it holds no Python that can be pushed, OakError.
    """
    known = {archive.sha256: archive for archive in listed()}
    digest = python_archive.digest(file)
    # One that has been looked into once is not unpacked again.
    found = replace(known.get(digest) or python_archive.inspect(file), added=time.time())
    kept = _archive(found.sha256)
    try:
        if not kept.exists():
            new = kept.with_suffix(f".{os.getpid()}.new")
            shutil.copyfile(file, new)
            new.replace(kept)
        note = _note(found.sha256).with_suffix(f".{os.getpid()}.new")
        note.write_bytes(wire.encode(found))
        # Last: an archive without its note does not count.
        note.replace(_note(found.sha256))
    except OSError as error:
        raise OakError(f"{file} cannot be kept in {kept.parent}: {error.strerror}") from error
    return found


def listed() -> tuple[PythonArchive, ...]:
    """All of them, the one that was added last first; raises OakError when one is damaged."""
    found = []
    for note in directory().glob("*.json"):
        try:
            archive = wire.decode(note.read_bytes(), PythonArchive)
        except FileNotFoundError:  # taken out just now
            continue
        except (OSError, wire.Malformed) as error:
            raise OakError(f"{note} cannot be read: {error}", hint=f"rm {note}") from error
        if _archive(archive.sha256).is_file():
            found.append(archive)
    return tuple(sorted(found, key=lambda archive: archive.added, reverse=True))


def content(archive: PythonArchive) -> bytes:
    """The archive's bytes; raises OakError when they are not those that were added."""
    path = _archive(archive.sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OakError(
            f"the Python archive {path} cannot be read: {error.strerror}",
            hint="oakctl host python add ARCHIVE",
        ) from error
    if hashlib.sha256(data).hexdigest() != archive.sha256:
        raise OakError(
            f"{path} is not what was added: its sha256 differs",
            hint=f"oakctl host python remove {archive.folder}; then add it again",
        )
    return data


def remove(name: str) -> PythonArchive:
    """Take out the one whose file name or sha256 (or its beginning) this is; raises NotFound."""
    found = [a for a in listed() if name and (a.name == name or a.sha256.startswith(name))]
    if len(found) != 1:
        word = "no archive" if not found else "more than one archive"
        raise NotFound(f"there is {word} {name!r}", hint="oakctl host python ls")
    _note(found[0].sha256).unlink(missing_ok=True)
    _archive(found[0].sha256).unlink(missing_ok=True)
    return found[0]


def _archive(sha256: str) -> Path:
    return directory() / f"{sha256}.tar.gz"


def _note(sha256: str) -> Path:
    return directory() / f"{sha256}.json"
