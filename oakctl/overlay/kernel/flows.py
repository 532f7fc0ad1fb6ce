"""Flows that the kernel has translated, and which of them have to end. Pure.

A flow keeps its instance for as long as packets come, whatever the rules say since: one whose
instance is gone would wait for ever. So all flows are compared with what is allowed, after each
change and at the start, rather than told of each change. Belongs here: messages of the kernel's
connection tracking (ctnetlink) as bytes. Does not belong here: sockets (`conntrack`).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from oakctl.overlay.kernel import attributes
from oakctl.overlay.kernel.planning import Leads
from oakctl.overlay.kernel.ruleset import Networks

TCP, UDP = 6, 17
# Flows in one filter of `closing`: one word of a command line has 128 KiB at most.
MOST_CLOSED = 1000

# enum ctattr_type, ctattr_tuple, ctattr_ip, ctattr_l4proto of linux/netfilter/nfnetlink_conntrack.h
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18
_IP, _PROTOCOL = 1, 2
_SOURCE, _DESTINATION = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3


# Where these are in a message that begins with the two tuples as the kernel writes them for TCP and
# UDP: each 52 bytes, in it addresses (20) of 8 bytes each, then the protocol's numbers.
_TUPLES = slice(20, 32), slice(72, 84)
_LEADING = tuple(
    b"".join(
        attributes.LEADING.pack(*each) for each in ((52, 1 << 15 | kind), (20, 0x8001), (8, 1))
    )
    for kind in (_ORIGINAL, _REPLY)
)
_DESTINATION_AT, _PROTOCOL_AT, _INSTANCE_AT = slice(40, 44), slice(52, 53), slice(84, 88)


@dataclass(frozen=True)
class Flow:
    """One flow: as its first packet was, and who answers it."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    instance: str  # where answers come from
    key: bytes  # attributes by which the kernel finds just this flow


def parse(message: bytes) -> Flow | None:
    """The flow in one message of a dump, header included; None where it is not one of IPv4."""
    try:
        return _parse(message)
    except (KeyError, struct.error, ValueError):
        return None


def brief(message: bytes) -> bytes:
    """What decides on a flow (`is_stale`), as bytes to compare: protocol, destination, instance.

    Empty where the message does not have the form that flows of TCP and UDP have; `parse` reads
    any. There are many flows and few of these.
    """
    if message[_TUPLES[0]] != _LEADING[0] or message[_TUPLES[1]] != _LEADING[1]:
        return b""
    return message[_PROTOCOL_AT] + message[_DESTINATION_AT] + message[_INSTANCE_AT]


def prefixes(networks: Networks) -> tuple[bytes, ...]:
    """Bytes of which a message has at least one, if it concerns us: most do not, and dumps are
    long."""
    found = (IPv4Network(each) for each in (networks.services, networks.subnet))
    return tuple(each.network_address.packed[: each.prefixlen // 8] for each in found)


def is_stale(
    flow: Flow, networks: Networks, leads: Mapping[str, Leads], local: Collection[str]
) -> bool:
    """Whether the flow leads where it must not any more.

    To a service: to an instance that is not one of its own now. To an instance of this node by
    another way (a published port): to one that is gone.
    """
    if IPv4Address(flow.destination) in IPv4Network(networks.services):
        known = leads.get(flow.destination, Leads())
        return flow.instance not in (known.udp if flow.protocol == UDP else known.tcp)
    ours = IPv4Address(flow.instance) in IPv4Network(networks.subnet)
    return ours and flow.instance != networks.gateway and flow.instance not in local


def closing(flows: Collection[Flow]) -> str:
    """A filter for `ss` that finds the client's sockets of these flows."""
    return " or ".join(
        f"( src {flow.source}:{flow.source_port} dst {flow.destination}:{flow.destination_port} )"
        for flow in flows
    )


def _parse(message: bytes) -> Flow:
    top = dict(attributes.within(message, attributes.BODY, len(message)))
    first, answer = _nested(message, top[_ORIGINAL]), _nested(message, top[_REPLY])
    addresses, protocol = _nested(message, first[_IP]), _nested(message, first[_PROTOCOL])
    key = b"".join(
        attributes.padded(message[start - attributes.LEADING.size : end])
        for start, end in (top[kind] for kind in (_ORIGINAL, _ID, _ZONE) if kind in top)
    )
    return Flow(
        protocol=message[protocol[_NUMBER][0]],
        source=_address(message, addresses[_SOURCE]),
        source_port=_port(message, protocol.get(_SOURCE_PORT)),
        destination=_address(message, addresses[_DESTINATION]),
        destination_port=_port(message, protocol.get(_DESTINATION_PORT)),
        instance=_address(message, _nested(message, answer[_IP])[_SOURCE]),
        key=key,
    )


def _nested(message: bytes, within: tuple[int, int]) -> dict[int, tuple[int, int]]:
    return dict(attributes.within(message, *within))


def _address(message: bytes, where: tuple[int, int]) -> str:
    return str(IPv4Address(message[slice(*where)]))


def _port(message: bytes, where: tuple[int, int] | None) -> int:
    return int.from_bytes(message[slice(*where)], "big") if where else 0
