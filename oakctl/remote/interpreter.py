"""Which Python runs everything of ours on a host: its own, or one that is pushed to it. Pure.

Belongs here: the choice, from facts and from the archives at hand, with its reason in words. Does
not belong here: what an archive is (`python_archive`), where archives are kept (`python_cache`),
finding out which Pythons a host has (`facts`), pushing one (`playbooks/python.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oakctl.errors import OakError
from oakctl.model.config import HostLayout
from oakctl.remote.equipment import Place
from oakctl.remote.facts import OLDEST_PYTHON, HostFacts

GLIBC, MUSL, OWN = "glibc", "musl", "own"  # whose C library a Python needs; own: it brings it
FOLDER_LENGTH = 12  # characters of the archive's sha256
SPARE = 50 << 20  # bytes: what it compiles, and what else we put there


@dataclass(frozen=True)
class PythonArchive:
    """A standalone Python in the operator's cache, ready to be pushed."""

    name: str  # the file's name when it was added
    sha256: str
    size: int  # bytes
    unpacked: int  # bytes
    python: str  # "3.11.2"
    architecture: str  # of the userland: x86_64, aarch64, armv7l
    libc: str  # glibc, musl, own
    root: str = ""  # the folder in the archive that holds bin/python3; empty: none
    added: float = 0.0  # seconds since the epoch

    @property
    def folder(self) -> str:
        """What it is called on a host."""
        return self.sha256[:FOLDER_LENGTH]


@dataclass(frozen=True)
class Interpreter:
    """The Python to use. Either `own` or `folder` is set; `reason` is shown in the plan."""

    reason: str
    version: str = ""  # empty: pushed earlier, and its archive is not here
    own: str = ""  # the absolute path of the host's own
    folder: str = ""  # below the layout's folder of Pythons
    archive: PythonArchive | None = None  # to be pushed where it is not there yet
    there: bool = False  # the one that was pushed last is this

    def path(self, layout: HostLayout) -> str:
        """The program on the host."""
        return self.own or layout.python(self.folder)


@dataclass(frozen=True)
class NoInterpreter:
    """The host has none that will do and none can be pushed; `remedy` is what to type."""

    reason: str
    remedy: str


def choose(
    facts: HostFacts, archives: Iterable[PythonArchive] = (), there: str = ""
) -> Interpreter | NoInterpreter:
    """The interpreter for this host; never asks, never tries.

    A Python of the host's own that will do is always taken. Else the archive that was added last
    of those that fit; else the one that was pushed earlier (`there`, its folder).
    """
    if facts.python:
        reason = f"its own Python {facts.python_version}, {facts.python}"
        return Interpreter(reason, facts.python_version, own=facts.python)
    best = max(
        (archive for archive in archives if not unfit(archive, facts)),
        key=lambda archive: (archive.added, archive.sha256),
        default=None,
    )
    lacking = facts.python_reason or "it has none"
    if best is not None:
        known = there == best.folder
        verb = "was" if known else "is"
        reason = f"Python {best.python} {verb} pushed ({_size(best.size)}, {best.name}): {lacking}"
        return Interpreter(reason, best.python, folder=best.folder, archive=best, there=known)
    if there:
        reason = f"the Python that was pushed earlier ({there}): {lacking}"
        return Interpreter(reason, folder=there, there=True)
    return NoInterpreter(
        f"no usable Python there ({lacking}), and no archive of one for "
        f"{facts.architecture or 'its architecture'} here",
        "push one: oakctl host python add ARCHIVE (a cpython-…-install_only.tar.gz for "
        f"{facts.architecture or 'it'}); or install Python {_dotted(OLDEST_PYTHON)} or newer on "
        "it: sudo apt-get install python3",
    )


def unfit(archive: PythonArchive, facts: HostFacts) -> str:
    """Why this archive is of no use on that host; empty when it is."""
    if archive.architecture != facts.architecture:
        return f"it is for {archive.architecture}, the host is {facts.architecture}"
    if not new_enough(archive.python):
        return f"Python {archive.python} is too old: {_dotted(OLDEST_PYTHON)} is the oldest"
    # A host that did not say which C library it has is taken for an ordinary one.
    if archive.libc != OWN and (archive.libc == MUSL) != (facts.libc == MUSL):
        return f"it needs {archive.libc}, the host has {facts.libc or GLIBC}"
    return ""


def hindrance(chosen: Interpreter, place: Place, prefix: str) -> NoInterpreter | None:
    """Why this one cannot be pushed to that place; None when it can, or need not be."""
    if chosen.archive is None or chosen.there:
        return None
    if place.no_exec:
        return NoInterpreter(
            f"{chosen.reason}; but programs do not start below {prefix}: it is mounted noexec",
            "mount it without noexec in /etc/fstab, or install Python "
            f"{_dotted(OLDEST_PYTHON)} or newer on it",
        )
    needed = (chosen.archive.size + chosen.archive.unpacked + SPARE) >> 20
    if place.free_mb < needed:
        return NoInterpreter(
            f"{chosen.reason}; but {place.free_mb} MiB are free for {prefix}, and it takes "
            f"{needed} MiB",
            f"make room on the file system of {prefix}",
        )
    return None


def new_enough(version: str) -> bool:
    """Whether the node's code runs on a Python of this version ("3.11.2", "3.11")."""
    parts = version.split(".")[:2]
    return (
        len(parts) == 2
        and all(part.isdigit() for part in parts)
        and (tuple(int(part) for part in parts) >= OLDEST_PYTHON)
    )


def required(host: str, found: Interpreter | NoInterpreter) -> Interpreter:
    """`found` when there is one; raises OakError with what is missing on the host."""
    if isinstance(found, NoInterpreter):
        raise OakError(f"{host}: {found.reason}", hint=found.remedy)
    return found


def require_room(host: str, chosen: Interpreter, place: Place, prefix: str) -> None:
    """Return when it is there or can be pushed; raises OakError (see `hindrance`)."""
    if (found := hindrance(chosen, place, prefix)) is not None:
        required(host, found)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
