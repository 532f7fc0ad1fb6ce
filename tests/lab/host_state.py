"""Pictures of the lab's hosts, and which differences between two runs of the same are none.

Belongs here: taking a picture of a host of this lab; what is each host's or each run's own. Does
not belong here: what a picture is made of (`snapshot`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.lab.fleet_hosts import Host
from tests.lab.snapshot import ROOTS, SCRIPT, Change, Snapshot, difference, parse

# Which of them there are depends on when it is looked.
GROWING: Mapping[str, str] = {
    r"file .*/__pycache__.*": "compiled when it is first run",
    r"file /opt/oakctl/(log|run)/.*": "what was logged, and locks",
    r"file /opt/oakctl/state/[^/]+/.*": "what the bus and the agent store while they run",
}
# There in both, with other content.
UNIQUE = re.compile(
    r"file (/etc/(machine-id|shadow|ssh/ssh_host_.*)"
    r"|.*(\.secret|/secret|\.key|\.pem|/users\.inc|/users\.json|/nats\.conf)"
    # In a unit stands what it was started with, as a digest.
    r"|/etc/systemd/system/oakctl-\w+\.service|/opt/oakctl/etc/\w+\.unit\.json)"
)


def take(host: Host) -> Snapshot:
    """How `host` is now; it has to be on and reachable."""
    return parse(host.run(f"python3 - {' '.join(ROOTS)}", SCRIPT, root=True).stdout)


def left(before: Snapshot, after: Snapshot, *, running: bool = False) -> list[str]:
    """What is otherwise than before; while ours is `running`, but for what that writes itself."""
    kept = GROWING if running else {}
    return [str(change) for change in difference(before, after, kept=kept)]


def otherwise(one: Snapshot, other: Snapshot) -> list[str]:
    """Where two runs of the same have come to something else."""
    return [
        str(change) for change in difference(one, other, kept=GROWING) if not _is_the_same(change)
    ]


def _is_the_same(change: Change) -> bool:
    """Whether it is a file of which each run has its own, with the same mode and owner."""
    before, after = (state.split()[:3] for state in (change.before, change.after))
    return bool(UNIQUE.fullmatch(change.name)) and before == after
