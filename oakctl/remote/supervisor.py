"""Keeping a process running on a host, whatever keeps processes running there.

Belongs here: the protocol that playbooks use, the supervisor `plain` (spoken to through the node
archive on the host), and the step that brings a unit up. Does not belong here: what the units are,
systemd (`systemd`), and which supervisor a host has (`residence`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any, Protocol

from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.model.config import Unit
from oakctl.remote import residence
from oakctl.remote.residence import Homeless
from oakctl.remote.step import LAST_LINES, Remote, Step
from oakctl.remote.systemd import SystemdSupervisor

# Restarting waits 5 s for a process to end before it is killed.
UNIT_DEADLINE_S = 60.0
# Variables by which a unit differs when what it was started with does.
STARTED_WITH = "OAKCTL_STARTED_WITH"
RELEASE = "OAKCTL_RELEASE"


class Supervisor(Protocol):
    """What a host's supervisor is asked."""

    def put(self, unit: Unit) -> None:
        """Store the unit, and have it running as it is now."""

    def remove(self, name: str) -> None:
        """Stop the unit and forget it; one that is not there is no error."""

    def restart(self, name: str) -> None:
        """Stop it if it runs, and run it."""

    def states(self) -> dict[str, str]:
        """Unit name → running, stopped or backing-off; just those that are ours."""


class PlainSupervisor:
    """The supervisor of a lab's hosts, reached by `oakctl-node unit` there."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._archive = remote.layout.archive

    def _unit(self, operation: str, argument: str = "", stdin: bytes = b"") -> dict[str, Any]:
        words = [self._remote.python, self._archive, "unit", operation]
        completed = self._remote.run(
            shlex.join(words + [argument] * bool(argument)), stdin=stdin, timeout_s=UNIT_DEADLINE_S
        )
        try:
            return dict(json.loads(completed.stdout))
        except (ValueError, TypeError) as error:
            raise OakError(
                f"the supervisor's answer to `unit {operation}` is not understood: {error}",
                details=completed.last_lines(),
            ) from error

    def put(self, unit: Unit) -> None:
        """See `Supervisor`."""
        self._unit("put", "-", wire.encode(unit))

    def remove(self, name: str) -> None:
        """See `Supervisor`."""
        if name in self.states():
            self._unit("remove", name)

    def restart(self, name: str) -> None:
        """See `Supervisor`."""
        self._unit("restart", name)

    def states(self) -> dict[str, str]:
        """See `Supervisor`."""
        there = self._remote.run(f"test -f {shlex.quote(self._archive)}", check=False)
        if there.exit_code != 0:
            return {}  # nobody there who could have been told of a unit
        return {
            name: str(unit.get("state", "")) if isinstance(unit, dict) else ""
            for name, unit in self._unit("status").items()
        }


def supervisor_of(remote: Remote) -> Supervisor:
    """The supervisor of this host; raises OakError where there is none that we can use."""
    found = remote.residence
    if isinstance(found, Homeless):
        raise OakError(f"{remote.name}: {found.reason}", hint=found.remedy)
    if found.supervisor == residence.PLAIN:
        return PlainSupervisor(remote)
    return SystemdSupervisor(remote, user=found.supervisor == residence.USER)


def unit_record(remote: Remote, name: str) -> str:
    """The file that says how the unit `name` was put last."""
    return remote.layout.etc(f"{name}.unit.json")


def unit_step(title: str, name: str, make: Callable[[Remote], Unit]) -> Step:
    """A step after which the unit `name` runs as `make` says.

    What was put last is kept beside the configuration: a unit that differs (other arguments, or
    `changes_with` another content) is started anew.
    """

    def check(remote: Remote) -> str:
        if remote.read(unit_record(remote, name)) != wire.encode(make(remote)):
            return "not started as it should be"
        state = supervisor_of(remote).states().get(name, "unknown to the supervisor")
        return "" if state == "running" else state

    def apply(remote: Remote) -> None:
        unit = make(remote)
        supervisor_of(remote).put(unit)
        remote.put(unit_record(remote, name), wire.encode(unit))
        state = supervisor_of(remote).states().get(name, "unknown to the supervisor")
        if state != "running":
            raise _does_not_run(remote, name, state)

    return Step(title, check, apply, name=name)


def _does_not_run(remote: Remote, name: str, state: str) -> OakError:
    log = remote.layout.log(name)
    tail = remote.run(f"tail -n {LAST_LINES} {shlex.quote(log)}", check=False)
    return OakError(
        f"{name} does not stay up: it is {state}",
        hint=f"oakctl host run {remote.name} -- cat {log}",
        details=tail.last_lines(),
    )


def changes_with(remote: Remote, *paths: str, archive: bool = True) -> dict[str, str]:
    """An environment that changes with the content of `paths` and the node archive in force.

    A unit that has it is started anew when what it has read at its start is no longer so.
    """
    files = " ".join(shlex.quote(path) for path in paths)
    current = shlex.quote(str(remote.layout.prefix / "current"))
    release = f"readlink {current} || echo" if archive else "echo"  # one line in any case
    said = remote.run(f"{release}; cat {files} </dev/null | sha256sum").stdout.splitlines()
    made = {STARTED_WITH: said[1].split()[0][:16]}
    return made | ({RELEASE: said[0].rpartition("/")[2]} if archive else {})
