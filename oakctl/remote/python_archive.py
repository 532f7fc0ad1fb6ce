"""What is in an archive of a standalone Python, and whether it is one that can be pushed.

Accepted is a tar.gz with `bin/python3`, at its top or in one folder (`python/` in the builds of
python-build-standalone). Belongs here: looking into it, and running it where that is possible here.
Does not belong here: keeping archives (`python_cache`), which one suits a host (`interpreter`).
"""

from __future__ import annotations

import hashlib
import json
import platform
import posixpath
import re
import struct
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from oakctl.errors import NotFound, OakError, UsageError
from oakctl.remote.facts import ELF
from oakctl.remote.interpreter import GLIBC, MUSL, OWN, PythonArchive, new_enough

LARGEST_UNPACKED = 2 << 30  # bytes
MOST_MEMBERS = 50_000
RUN_DEADLINE_S = 60.0
DESCRIPTION = "oakctl-python.json"  # written by scripts/standalone-python
# What our node code needs, and what services written in Python expect of any Python.
MODULES = (
    *("asyncio", "ctypes", "hashlib", "http.server", "json", "logging.handlers"),
    *("multiprocessing", "sqlite3", "ssl", "threading", "urllib.request", "zlib"),
)
TRIAL = f"import sys, {', '.join(MODULES)}; print('.'.join(map(str, sys.version_info[:3])))"

_RELEASE = re.compile(r"cpython-(3\.\d+\.\d+)\+")
_LIBRARY = re.compile(r"lib/python(3\.\d+)/os\.py")
_PROGRAM = re.compile(r"(?:bin|libexec)/python3(?:\.\d+)?")
_OWN_LOADER = re.compile(r"ld-(?:linux|musl)[\w.-]*\.so[\w.]*")
_HINT = "a cpython-…-install_only.tar.gz of python-build-standalone is one"

INTERPRETER = 3  # the kind of a program header that names the loader

Members = Mapping[str, tarfile.TarInfo]


def inspect(path: Path) -> PythonArchive:
    """What this archive is. Blocks: it is unpacked and run where its architecture is ours.

    Raises NotFound, and UsageError with why it cannot be used.
    """
    sha256 = digest(path)
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = checked(archive)
            found = replace(
                describe(archive, members, path.name), sha256=sha256, size=path.stat().st_size
            )
            if not new_enough(found.python):
                raise UsageError(f"{path} holds Python {found.python}: 3.10 is the oldest")
            if found.architecture != platform.machine():
                return found
            with tempfile.TemporaryDirectory(prefix="oakctl-python-") as folder:
                _unpack(archive, members, folder)
                version = _run(path, Path(folder) / found.root / "bin/python3")
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise UsageError(f"{path} is no tar.gz of a Python: {error}", hint=_HINT) from error
    except OSError as error:
        raise OakError(f"{path} cannot be unpacked: {error.strerror or error}") from error
    if not f"{version}.".startswith(f"{found.python}."):
        raise UsageError(f"{path} holds Python {version}, and says that it is {found.python}")
    return replace(found, python=version)


def digest(path: Path) -> str:
    """The file's sha256; raises NotFound, OakError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise NotFound(f"there is no archive {path}", hint=f"ls {path.parent}") from error
    except OSError as error:
        raise OakError(f"{path} cannot be read: {error.strerror}") from error


# --- what may be unpacked ---


def checked(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Every member by its name in short form; raises tarfile.TarError when one leads outside."""
    members: dict[str, tarfile.TarInfo] = {}
    total = 0
    for member in archive:
        total += member.size
        if total > LARGEST_UNPACKED or len(members) >= MOST_MEMBERS:
            raise tarfile.TarError("more than 2 GiB or 50000 files")
        fault = fault_of(member)
        if fault:
            raise tarfile.TarError(fault)
        members[posixpath.normpath(member.name)] = member
    for name in members:
        # A member below a link would be written where the link leads.
        above = name
        while above := posixpath.dirname(above):
            if above in members and members[above].issym():
                raise tarfile.TarError(f"{name!r} lies below a link")
    for name, member in members.items():
        # To a file of the archive alone, whose name has been checked as every other.
        linked = members.get(posixpath.normpath(member.linkname)) if member.islnk() else None
        if member.islnk() and (linked is None or not linked.isreg()):
            raise tarfile.TarError(f"{name!r} is a link to {member.linkname!r}, no file of it")
    return members


def fault_of(member: tarfile.TarInfo) -> str:
    """Why this member must not be unpacked; empty when it may be."""
    name = member.name
    if _leads_outside(name) or (posixpath.normpath(name) == "." and not member.isdir()):
        return f"{name!r} would be unpacked outside of its folder"
    target = member.linkname
    if member.issym():
        target = posixpath.join(posixpath.dirname(posixpath.normpath(name)), target)
    if (member.issym() or member.islnk()) and (
        _leads_outside(target) or _turns_back(member.linkname)
    ):
        return f"{name!r} is a link that leads outside: {member.linkname!r}"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return f"{name!r} is a device or the like"
    return ""


def _turns_back(target: str) -> bool:
    """Whether `..` follows a name, which may be a link: then it leads elsewhere than it seems."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        del parts[0]
    return ".." in parts


def _leads_outside(name: str) -> bool:
    path = posixpath.normpath(name)
    return path.startswith(("/", "../")) or path == ".." or "\0" in name


def _unpack(archive: tarfile.TarFile, members: Members, folder: str) -> None:
    for member in members.values():
        member.mode = (member.mode & 0o755) | (0o700 if member.isdir() else 0o600)
        member.uid = member.gid = -1
        member.uname = member.gname = ""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, members.values(), filter="data")
    else:
        archive.extractall(folder, members.values())  # noqa: S202 - `checked` has passed them all


# --- what it says of itself ---


def root_of(names: Iterable[str]) -> str:
    """The folder with bin/python3 ("" or "python"); raises tarfile.TarError when there is none."""
    found = sorted(
        (posixpath.dirname(posixpath.dirname(name)) for name in names
         if name == "bin/python3" or name.endswith("/bin/python3")),
        key=len,
    )  # fmt: skip
    if not found or "/" in found[0]:
        raise tarfile.TarError("there is no bin/python3 in it, at its top or in one folder")
    return found[0]


def describe(archive: tarfile.TarFile, members: Members, name: str) -> PythonArchive:
    """What the content says, without running it; raises tarfile.TarError when it says too little.

    `name`: the file's, which in released builds says the version.
    """
    root = root_of(members)
    inside = {posixpath.relpath(path, root or "."): member for path, member in members.items()}
    programs = (
        elf_of(_content(archive, inside[path]))
        for path in sorted(inside)
        if _PROGRAM.fullmatch(path) and inside[path].isreg()
    )
    elf = next((elf for elf in programs if elf is not None), None)
    if elf is None or not elf.architecture:
        raise tarfile.TarError("its Python is no program for any architecture that is known")
    own = any(_OWN_LOADER.fullmatch(posixpath.basename(path)) for path in inside)
    return PythonArchive(
        name=name,
        sha256="",
        size=0,
        unpacked=sum(member.size for member in members.values()),
        python=_version(archive, inside, name),
        architecture=elf.architecture,
        libc=OWN if own or not elf.loader else MUSL if "ld-musl" in elf.loader else GLIBC,
        root=root,
    )


def _version(archive: tarfile.TarFile, inside: Members, name: str) -> str:
    if DESCRIPTION in inside:
        try:
            return str(json.loads(_content(archive, inside[DESCRIPTION]))["python"])
        except (ValueError, KeyError, TypeError) as error:
            raise tarfile.TarError(f"its {DESCRIPTION} cannot be read") from error
    if released := _RELEASE.match(name):
        return released[1]
    libraries = [found[1] for path in inside if (found := _LIBRARY.fullmatch(path))]
    if not libraries:
        raise tarfile.TarError("there is no lib/python3.X in it")
    return libraries[0]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


@dataclass(frozen=True)
class Elf:
    """What the head of a program says."""

    architecture: str  # as `uname -m` has it; empty: none that is known
    loader: str  # "/lib64/ld-linux-x86-64.so.2"; empty: it needs none


def elf_of(content: bytes) -> Elf | None:
    """None when it is no ELF file, or is cut off."""
    if content[:4] != b"\x7fELF":
        return None
    try:
        order = "<" if content[5] == 1 else ">"
        word, at, sizes = ("Q", 32, 54) if content[4] == 2 else ("I", 28, 42)
        (machine,) = struct.unpack_from(f"{order}H", content, 18)
        (start,) = struct.unpack_from(f"{order}{word}", content, at)
        size, count = struct.unpack_from(f"{order}HH", content, sizes)
        loader = ""
        for header in range(start, start + size * count, size or 1):
            if struct.unpack_from(f"{order}I", content, header)[0] == INTERPRETER:
                place = header + (8 if word == "Q" else 4)
                (offset,) = struct.unpack_from(f"{order}{word}", content, place)
                loader = content[offset : offset + 256].split(b"\0")[0].decode("latin-1")
                break
    except (struct.error, IndexError):
        return None
    return Elf(ELF.get(machine, ""), loader)


def _run(path: Path, program: Path) -> str:
    """The version that it says when it is run."""
    try:
        done = subprocess.run(
            [program, "-I", "-c", TRIAL],
            capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{path}: its Python does not end within {RUN_DEADLINE_S:g} s") from error
    except OSError as error:
        raise UsageError(f"{path}: its Python does not run here: {error.strerror}") from error
    if done.returncode != 0:
        said = tuple(done.stderr.strip().splitlines()[-5:])
        raise UsageError(f"{path}: its Python does not run here", details=said)
    return done.stdout.strip()
