"""What we make on a host, by role, so that it can be taken away again.

The manifest (`manifest.json` in the prefix) is written before anything of a role is made; with
the last role the whole prefix goes. Does not belong here: making or removing (`playbooks/`).
"""

from __future__ import annotations

import json
from typing import TypedDict

from oakctl.errors import OakError
from oakctl.remote.step import Remote


class Role(TypedDict):
    """Units in the order in which they are stopped, and paths below the prefix."""

    units: list[str]
    paths: list[str]


ROLES: dict[str, Role] = {
    "cluster": {
        "units": ["orchestrator", "bus"],
        "paths": [
            "bin",
            "etc/bus",
            "etc/cluster.json",
            "etc/admission.conf",
            "etc/bus.unit.json",
            "etc/orchestrator.unit.json",
            "open",
            "state/bus",
            "state/artifacts",
            "state/secrets.json",
            "state/tokens.json",
            "state/peers",
            "run/bus.pid",
            "run/orchestrator.lock",
            "log/bus.log",
            "log/orchestrator.log",
        ],
    },
    "worker": {
        "units": ["agent", "relay"],
        "paths": [
            "etc/worker.json",
            "etc/worker",
            "etc/agent.unit.json",
            "etc/relay.unit.json",
            "instances",
            "artifacts",
            "state/agent",
            "state/overlay",
            "state/overlay.json",
            "run/relay.pid",
            "run/relay-status.json",
            "log/agent.log",
            "log/relay.log",
        ],
    },
}


def read(remote: Remote) -> dict[str, Role]:
    """Role → what it made; empty on a host without a manifest. Raises OakError when unreadable."""
    content = remote.read(remote.layout.manifest)
    if content is None:
        return {}
    try:
        roles: dict[str, Role] = json.loads(content)["roles"]
    except (ValueError, KeyError, TypeError) as error:
        raise OakError(
            f"{remote.layout.manifest} is not ours: {error}",
            hint=f"look at it, and remove {remote.layout.prefix} by hand",
        ) from error
    return roles


def lingering_mark(remote: Remote) -> str:
    """The file that says that we let the user's processes run without a session."""
    return remote.layout.state("lingering-by-us")


def text(roles: dict[str, Role]) -> bytes:
    """The manifest with these roles."""
    return (json.dumps({"roles": roles}, indent=1, sort_keys=True) + "\n").encode()
