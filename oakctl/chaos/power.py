"""The power of hosts that a lab made, as this room needs it.

Belongs here: the protocol, and one for a fleet without a lab. Does not belong here: labs
(`oakctl.lab`, which stands beside this room): whoever knows both hands the one to the other.
"""

from __future__ import annotations

from typing import Protocol

from oakctl.chaos.records import Healed, InForce
from oakctl.model.views import HostView


class Power(Protocol):
    """What can be done to the power of a lab's hosts on this machine."""

    async def cut(self, host: HostView, for_s: float) -> None:
        """Kill everything on it at once; after `for_s` seconds it is on again (0: stays off), also
        when nobody is left here who waits for that."""

    def in_force(self) -> list[InForce]:
        """Hosts whose power was cut by us and is not back."""

    async def heal(self, host: HostView) -> list[Healed]:
        """Turn it on again if it was us who cut its power."""
