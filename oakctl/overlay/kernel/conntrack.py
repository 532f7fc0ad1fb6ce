"""The kernel's table of flows: looking through it, and deleting from it (ctnetlink).

By the kernel's own interface rather than the program `conntrack`: it is asked after every change,
and a process takes longer than the answer. Does not belong here: which flows go (`flows`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator

from oakctl.overlay.kernel import flows, netlink
from oakctl.overlay.kernel.flows import Flow

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # of the subsystem ctnetlink


def delete_flows(
    networks_prefixes: Iterable[bytes], goes: Callable[[Flow], bool]
) -> tuple[Flow, ...]:
    """Delete each flow of IPv4 that `goes`, of those with one of these bytes in them.

    Returns what was deleted. Raises OSError, PermissionError among them.
    """
    with netlink.opened() as kernel:
        found = [flow for flow in _flows(kernel, tuple(networks_prefixes)) if goes(flow)]
        return tuple(flow for flow in found if _delete(kernel, flow))


def destinations(networks_prefixes: Iterable[bytes]) -> frozenset[str]:
    """What the flows with one of these bytes in them were for at first. Raises OSError."""
    with netlink.opened() as kernel:
        return frozenset(flow.destination for flow in _flows(kernel, tuple(networks_prefixes)))


def _flows(kernel: socket.socket, wanted: tuple[bytes, ...]) -> Iterator[Flow]:
    for message in netlink.dump(kernel, _GET):
        if any(prefix in message for prefix in wanted):
            flow = flows.parse(message)
            if flow is not None:
                yield flow


def _delete(kernel: socket.socket, flow: Flow) -> bool:
    """False when it was gone by itself."""
    try:
        netlink.command(kernel, _DELETE, flow.key)
    except FileNotFoundError:
        return False
    return True
