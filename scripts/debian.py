"""Debian's packages for the scripts beside this file: fetched and unpacked, never set up.

Belongs here: asking apt for packages of any release and architecture, without root and without
touching this machine's own. Does not belong here: what is made of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Set
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Failed(Exception):
    """The text says what is missing."""


def own_architecture() -> str:
    """This machine's, as Debian calls it."""
    return run("dpkg", "--print-architecture").strip()


def own_mirror() -> str:
    """The Debian archive that apt uses on this machine; raises Failed when it names none."""
    # Of this checkout; these modules import nothing but Python's own.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from oakctl.errors import OakError
    from oakctl.lab.machines import sources

    try:
        return sources.own_mirror()
    except OakError as error:
        raise Failed(f"{error.message}: give one, --mirror URL") from error


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
