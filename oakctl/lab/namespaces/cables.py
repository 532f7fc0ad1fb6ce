"""The cable of a light host as its lab's record says it shall be.

Belongs here: what a request changes of the record, and bringing the cable there. Does not belong
here: how a cable is pulled or slowed down (`lab`, `line`).
"""

from __future__ import annotations

from typing import Any

from oakctl.lab.description import HostRecord
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.lab.slow import Slow


def changes(request: dict[str, Any]) -> dict[str, Any]:
    """What a request of the keeper's socket changes of the host; raises KeyError or ValueError."""
    if request["op"] == "cut":
        return {"cut": True}
    if request["op"] == "heal":
        return {"cut": False, "slow": Slow()}
    return {"slow": Slow(float(request["delay_ms"]), float(request["loss"]))}


def restore(lab: NamespaceLab, record: HostRecord) -> None:
    """Let the cable of a host that is on be as recorded; raises OakError."""
    lab.slow(record.name, None if record.slow == Slow() else record.slow)
    if record.cut:
        lab.cut(record.name)
    else:
        lab.heal(record.name)
