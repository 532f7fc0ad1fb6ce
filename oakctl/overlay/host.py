"""No overlay: instances use the host's own network, and services have no addresses.

For hosts whose kernel network is not ours to change. Belongs here: what the agent needs of an
overlay driver, answered so that instances run and nothing is claimed. Does not belong here:
forwarding of any kind.
"""

from __future__ import annotations

from oakctl.overlay import plan

REASON = (
    "service addresses are not available on this host: it has no overlay, "
    "instances listen on the host's own address"
)


class HostDriver:
    """Instances listen on `address`, or on every address of the host where it is empty."""

    def __init__(self, address: str) -> None:
        self._address = address or "0.0.0.0"
        self._wanted = False

    def apply(self, overlay: plan.NodeOverlay) -> bool:
        """Nothing is forwarded; what would have been is remembered as a problem."""
        self._wanted = bool(overlay.listeners)
        return False

    def bind_address(self, overlay_ip: str) -> str:
        """The host's own address, whatever the overlay's would be."""
        return self._address

    def local_service_address(self, overlay_ip: str) -> str:
        """Empty: no address leads to a service from here."""
        return ""

    def relay_pid(self) -> int | None:
        """There is no relay."""
        return None

    def problems(self) -> tuple[str, ...]:
        """That services are not reached, once there are some that should be."""
        return (REASON,) if self._wanted else ()
