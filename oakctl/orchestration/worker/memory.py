"""Where secrets of instances lie on this node: in memory, below one directory of ours.

    <tmpfs>/oakctl-<mark of the prefix>/kept/<instance>.json     what it was given, for the launcher
    <tmpfs>/oakctl-<mark of the prefix>/files/<instance>/<file>  its files

Belongs here: finding a file system in memory, who may read what, taking all of it away. Does not
belong here: getting secrets (`secrets`). Everything above the files is the agent's own, so that
an instance cannot lead it astray with links.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from oakctl.orchestration.worker import storage

IN_MEMORY = ("tmpfs", "ramfs")
SHARED = Path("/dev/shm")  # noqa: S108 (what is there under our name has to be our own)
MOUNTS = Path("/proc/self/mounts")
FOR_ITS_GROUP = 0o710
FOR_ITSELF = 0o400
FOR_CONTAINERS = 0o444  # who they are is the image's business; the directory above is closed
_ESCAPED = re.compile(r"\\([0-7]{3})")


class NoMemory(Exception):
    """There is no place for secrets here; the text says why, for people."""


def place(prefix: str) -> Path:
    """The directory for the agent with this prefix, which `Memory` makes; raises NoMemory."""
    looked = candidates()
    for directory in looked:
        if file_system(directory) in IN_MEMORY and os.access(directory, os.W_OK | os.X_OK):
            return directory / _name(prefix)
    listed = " and ".join(map(str, looked))
    raise NoMemory(f"neither of {listed} is a file system in memory that the agent may write to")


def candidates() -> list[Path]:
    """Directories that usually are in memory, the best first."""
    user = os.geteuid()
    if user == 0:
        return [Path("/run"), SHARED]
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(f"/run/user/{user}"), *([Path(given)] if given else []), SHARED]
    return list(dict.fromkeys(found))


def clear(prefix: str) -> None:
    """Take everything of the agent with this prefix away, wherever it was."""
    for directory in candidates():
        shutil.rmtree(directory / _name(prefix), ignore_errors=True)


def file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of file system that `path` is on; empty: it is not there."""
    if not path.is_dir():
        return ""
    wanted = path.resolve()
    best, kind = -1, ""
    for line in (MOUNTS.read_text() if mounts is None else mounts).splitlines():
        _, point, found, *_ = line.split(" ")
        where = Path(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), point))
        # A later mount at the same place hides the one before.
        if wanted.is_relative_to(where) and len(where.parts) >= best:
            best, kind = len(where.parts), found
    return kind


class Memory:
    """Files below `base`, which is there as long as something is in it."""

    def __init__(self, base: Path) -> None:
        self._base = base

    def kept(self, name: str) -> Path:
        """What the instance was given, for the agent and the launcher alone."""
        return self._base / "kept" / f"{name}.json"

    def files(self, name: str) -> Path:
        """The directory of the instance's files."""
        return self._base / "files" / name

    def write(self, name: str, kept: bytes, files: Mapping[str, bytes]) -> None:
        """Everything of an instance, in place of what was there. Raises OSError, NoMemory."""
        _own(self._base)
        for part, mode in (("kept", 0o700), ("files", 0o711)):
            (self._base / part).mkdir(exist_ok=True)
            (self._base / part).chmod(mode)  # whatever the umask has made of it
        folder = self.files(name)
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in set(folder.iterdir()) - {folder / file for file in files}:
            path.unlink()
        for file, content in files.items():
            storage.replace_file(folder / file, content, FOR_ITSELF)
        storage.replace_file(self.kept(name), kept)

    def give(self, name: str, user: int | None) -> None:
        """The files become those of this user; None: they stay the agent's own."""
        if user is None:
            return
        folder = self.files(name)
        for path in folder.iterdir():
            os.chown(path, user, user)
        os.chown(folder, -1, user)
        folder.chmod(FOR_ITS_GROUP)

    def open_to_container(self, name: str) -> None:
        """Whoever a container's processes are can read the files that are mounted into it."""
        for path in self.files(name).iterdir():
            path.chmod(FOR_CONTAINERS)

    def names(self) -> set[str]:
        """Instances of which there is something."""
        kept = {path.name.removesuffix(".json") for path in self._base.glob("kept/*")}
        return kept | {path.name for path in self._base.glob("files/*")}

    def remove(self, name: str) -> None:
        """Everything of an instance."""
        with contextlib.suppress(FileNotFoundError):
            self.kept(name).unlink()
        shutil.rmtree(self.files(name), ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty
            for folder in ("kept", "files", "."):
                (self._base / folder).resolve().rmdir()


def _name(prefix: str) -> str:
    return f"oakctl-{hashlib.sha256(prefix.encode()).hexdigest()[:12]}"


def _own(directory: Path) -> Path:
    # /dev/shm is everybody's: what has our name there may be somebody else's doing.
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o711)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NoMemory(f"{directory} is not the agent's own")
    directory.chmod(0o711)
    return directory
