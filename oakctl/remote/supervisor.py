"""Keeping a process running on a host, whatever keeps processes running there.

Belongs here: the protocol that playbooks use, and the supervisor `plain` (spoken to through the
node archive on the host). Does not belong here: what the units are, systemd (`systemd`), and which
supervisor a host has (`residence`).
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Protocol

from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.model.config import Unit
from oakctl.remote import residence
from oakctl.remote.residence import Homeless
from oakctl.remote.step import Remote
from oakctl.remote.systemd import SystemdSupervisor


class Supervisor(Protocol):
    """What a host's supervisor is asked."""

    def put(self, unit: Unit) -> None:
        """Store the unit and run it; one that is the same and runs is left alone."""

    def remove(self, name: str) -> None:
        """Stop the unit and forget it; one that is not there is no error."""

    def restart(self, name: str) -> None:
        """Stop it if it runs, and run it."""

    def running(self, name: str) -> bool:
        """Whether the unit's process is there."""


class PlainSupervisor:
    """The supervisor of a lab's hosts, reached by `oakctl-node unit` there."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def _unit(self, operation: str, argument: str = "", stdin: bytes = b"") -> dict[str, Any]:
        words = [self._remote.facts.python, self._remote.layout.archive, "unit", operation]
        completed = self._remote.run(shlex.join(words + [argument] * bool(argument)), stdin=stdin)
        units: dict[str, Any] = json.loads(completed.stdout)
        return units

    def put(self, unit: Unit) -> None:
        """See `Supervisor`."""
        self._unit("put", "-", wire.encode(unit))

    def remove(self, name: str) -> None:
        """See `Supervisor`."""
        if name in self._unit("status"):
            self._unit("remove", name)

    def restart(self, name: str) -> None:
        """See `Supervisor`."""
        self._unit("restart", name)

    def running(self, name: str) -> bool:
        """See `Supervisor`."""
        return bool(self._unit("status").get(name, {}).get("state") == "running")


def supervisor_of(remote: Remote) -> Supervisor:
    """The supervisor of this host; raises OakError where there is none that we can use."""
    found = remote.residence
    if isinstance(found, Homeless):
        raise OakError(f"{remote.name}: {found.reason}", hint=found.remedy)
    if found.supervisor == residence.PLAIN:
        return PlainSupervisor(remote)
    return SystemdSupervisor(remote, user=found.supervisor == residence.USER)
