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

    `goes` is asked once for all flows of one protocol, destination and instance. Returns what was
    deleted. Raises OSError, PermissionError among them.
    """
    with netlink.opened() as kernel:
        found = list(_going(kernel, tuple(networks_prefixes), goes))
        return tuple(flow for flow in found if _delete(kernel, flow))


def destinations(networks_prefixes: Iterable[bytes]) -> frozenset[str]:
    """What the flows with one of these bytes in them were for at first. Raises OSError."""
    with netlink.opened() as kernel:
        found = _kinds(kernel, tuple(networks_prefixes))
        return frozenset(flow.destination for message in found if (flow := flows.parse(message)))


def _going(
    kernel: socket.socket, wanted: tuple[bytes, ...], goes: Callable[[Flow], bool]
) -> Iterator[Flow]:
    verdicts: dict[bytes, bool] = {}
    for message in _of_interest(kernel, wanted):
        kind = flows.brief(message)
        if kind and verdicts.get(kind) is False:
            continue
        flow = flows.parse(message)
        if flow is None:
            continue
        verdict = verdicts.get(kind) if kind else None
        if verdict is None:
            verdict = verdicts[kind] = goes(flow)
        if verdict:
            yield flow


def _kinds(kernel: socket.socket, wanted: tuple[bytes, ...]) -> Iterable[bytes]:
    """A message of each kind of flow."""
    return {flows.brief(each) or each: each for each in _of_interest(kernel, wanted)}.values()


def _of_interest(kernel: socket.socket, wanted: tuple[bytes, ...]) -> Iterator[bytes]:
    for message in netlink.dump(kernel, _GET):
        if any(prefix in message for prefix in wanted):
            yield message


def _delete(kernel: socket.socket, flow: Flow) -> bool:
    """False when it was gone by itself."""
    try:
        netlink.command(kernel, _DELETE, flow.key)
    except FileNotFoundError:
        return False
    return True
