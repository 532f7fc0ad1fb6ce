"""Debian's packages for the scripts beside this file: fetched and unpacked, never set up.

Belongs here: asking apt for packages of any release and architecture, without root and without
touching this machine's own. Does not belong here: what is made of them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Set
from pathlib import Path

SOURCES = Path("/etc/apt")
ARCHIVE = re.compile(
    r"^(?:URIs:|deb )[^#\n]*?\b((?:https?|file):\S*/debian/?)(?:\s|$)", re.MULTILINE
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Failed(Exception):
    """The text says what is missing."""


def own_architecture() -> str:
    """This machine's, as Debian calls it."""
    return run("dpkg", "--print-architecture").strip()


def own_mirror() -> str:
    """The Debian archive that apt uses on this machine; raises Failed when it names none."""
    lists = (SOURCES / "sources.list", *sorted(SOURCES.glob("sources.list.d/*.[ls]*")))
    for file in lists:
        if file.suffix in (".list", ".sources") and file.exists():
            found = ARCHIVE.search(file.read_text(encoding="utf-8", errors="replace"))
            if found:
                return found[1]
    raise Failed("apt's sources on this machine name no Debian archive: give one, --mirror URL")


class Packages:
    """The packages of `suite` for `architecture`, by an apt whose files are all in `folder`."""

    def __init__(self, folder: Path, architecture: str, suite: str, mirror: str) -> None:
        self._folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "etc", "root"):
            (folder / name).mkdir(parents=True)
        (folder / "state/status").touch()
        sources = folder / "etc/sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
        options = {
            "Dir::State": folder / "state",
            "Dir::State::status": folder / "state/status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        self._options = [
            word for key, value in options.items() for word in ("-o", f"{key}={value}")
        ]
        run("apt-get", "-qq", *self._options, "update")

    def depends(self, package: str) -> str:
        """What `apt-cache depends` says."""
        return run("apt-cache", *self._options, "depends", package)

    def unpacked(self, *packages: str, without: Set[str] = frozenset()) -> Path:
        """A folder with these and all that they depend on, except `without`, unpacked."""
        words = ("-qq", "-y", *self._options, "--download-only", "install")
        run("apt-get", *words, *packages)
        for package in sorted((self._folder / "cache/archives").glob("*.deb")):
            if package.name.partition("_")[0] not in without:
                run("dpkg-deb", "-x", str(package), str(self._folder / "root"))
        return self._folder / "root"


def run(*words: str) -> str:
    """What a program says; raises Failed with what it complained about."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failed(f"{words[0]} is not installed here; it is a part of Debian") from error
    if done.returncode != 0:
        raise Failed(f"{words[0]} failed: {done.stderr.strip()}")
    return done.stdout
