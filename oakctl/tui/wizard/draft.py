"""What was decided so far, kept in a file so that a wizard that was killed goes on where it was.

Belongs here: the draft, writing and reading it. There is no secret in it: passwords go to the
root's memory alone. Does not belong here: the steps themselves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from oakctl import paths
from oakctl.errors import OakError
from oakctl.model import wire


class Step(str, Enum):
    """The steps, in order; the values are what the screen calls them."""

    HOSTS = "hosts"
    CHECK = "check"
    ROLES = "roles"
    PLAN = "plan"
    APPLY = "apply"
    APPLICATION = "application"
    DONE = "done"


STEPS = tuple(Step)


@dataclass(frozen=True)
class Role:
    """What a host is to be; of no cluster: it is left alone."""

    cluster: str = ""
    orchestrator: bool = False
    worker: bool = False

    def __str__(self) -> str:
        kinds = ["orchestrator"] * self.orchestrator + ["worker"] * self.worker
        return f"{' and '.join(kinds)} of {self.cluster}" if kinds and self.cluster else "nothing"


@dataclass(frozen=True)
class Draft:
    """The decisions; everything has a default, so that a new one is a beginning."""

    step: Step = Step.HOSTS
    hosts: str = ""  # the lines as typed
    left_out: tuple[str, ...] = ()  # hosts that are not to be used
    roles: dict[str, Role] = field(default_factory=dict)  # by host
    file: str = "fleet.yaml"  # where the fleet file goes, as typed
    folder: str = ""  # that the file's name is relative to
    descriptor: str = ""  # of the first application, as typed
    applied: bool = False
    deployed: tuple[str, ...] = ()  # applications


def path() -> Path:
    """Where the draft is kept."""
    return paths.state_directory() / "wizard.json"


def load() -> Draft:
    """The kept draft; a new one where there is none, or none that can be read."""
    try:
        return wire.decode(path().read_bytes(), Draft)
    except (FileNotFoundError, wire.Malformed):
        return Draft(folder=str(Path.cwd()))
    except OSError as error:
        raise OakError(f"{path()} cannot be read: {error.strerror}") from error


def save(draft: Draft) -> None:
    """Keep the draft, whole or not at all, for this user alone."""
    paths.private_directory(paths.state_directory())
    new = path().with_suffix(".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(wire.encode(draft))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path())
    except OSError as error:
        raise OakError(f"{path()} cannot be written: {error.strerror}") from error


def forget() -> None:
    """The wizard is through."""
    path().unlink(missing_ok=True)
