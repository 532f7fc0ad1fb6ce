"""What exactly is run for an instance: argument list and environment. Pure but for this node's.

Belongs here: the artifact's manifest, placeholders, the variables every instance gets. Does not
belong here: running it (`shim`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oakctl.model import secrets, wire
from oakctl.model.instance import DesiredInstance

MANIFEST = "oakctl-artifact.json"
INTERPRETER = "{python}"
ARTIFACT = "{artifact}"
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
# By these a lab finds what it has to end, and what a host of it takes along when it fails.
LAB_MARKS = ("OAKCTL_LAB", "OAKCTL_HOST")
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class CannotStart(Exception):
    """An instance cannot be started here; the text says why, for people."""


class NotYet(Exception):
    """Something that an instance's start needs is being made; the agent is woken when it is."""


@dataclass(frozen=True)
class Manifest:
    """`oakctl-artifact.json`: how an artifact is run, and where it can be."""

    command: tuple[str, ...]
    name: str = ""
    python: str = ""  # "3.11": packages in it are for this Python; empty: for any, or none
    architectures: tuple[str, ...] = ()  # empty: any


def read_manifest(artifact: Path) -> Manifest:
    """The manifest of an unpacked artifact; raises CannotStart when it is not usable."""
    try:
        manifest = wire.decode((artifact / MANIFEST).read_bytes(), Manifest)
    except OSError as error:
        raise CannotStart(f"the artifact has no {MANIFEST}: {error.strerror}") from error
    except wire.Malformed as error:
        raise CannotStart(f"the artifact's {MANIFEST} is {error}") from error
    if not manifest.command:
        raise CannotStart(f"the artifact's {MANIFEST} names no command")
    return manifest


def check_fits(manifest: Manifest, architecture: str, python: tuple[int, int]) -> None:
    """Raises CannotStart when the artifact was made for another kind of machine."""
    if manifest.architectures and architecture not in manifest.architectures:
        made_for = ", ".join(manifest.architectures)
        raise CannotStart(f"the artifact is for {made_for}, this node is {architecture}")
    here = f"{python[0]}.{python[1]}"
    if manifest.python and manifest.python != here:
        raise CannotStart(f"the artifact is for Python {manifest.python}, this node has {here}")


def argv(manifest: Manifest, desired: DesiredInstance, artifact: Path) -> list[str]:
    """The manifest's command, with what the descriptor adds behind it."""
    words = [*manifest.command, *desired.service.cmd, *desired.service.args]
    if words[0] == INTERPRETER:
        words[0] = sys.executable
    return [word.replace(ARTIFACT, str(artifact)) for word in words]


def environment(
    desired: DesiredInstance,
    directory: Path,
    bind: str,
    local_address: Callable[[str], str],
    inherited: Mapping[str, str] = os.environ,
    secrets_directory: str = "",
) -> dict[str, str]:
    """The instance's whole environment; the descriptor cannot override the variables of ours.

    `local_address` turns a service's overlay address into the one that leads there from here;
    where it is empty none does, and the variable is left out. Secrets are not among them: this
    is written to a disk.
    """
    given = {name: inherited[name] for name in INHERITED if name in inherited}
    variables = {"PATH": USUAL_PATH, "PYTHONUNBUFFERED": "1", **given}
    variables.update(
        (name, value)
        for name, separator, value in (line.partition("=") for line in desired.service.environment)
        if separator and name
    )
    variables.update(HOME=str(directory), TMPDIR=str(directory))
    variables.update((name, inherited[name]) for name in LAB_MARKS if name in inherited)
    variables.update(OAKCTL_BIND=bind, OAKCTL_INSTANCE=desired.name)
    if secrets_directory:
        variables[secrets.VARIABLE] = secrets_directory
    reached = ((name, local_address(address)) for name, address in desired.reach.items())
    variables.update((name, address) for name, address in reached if address)
    return variables
