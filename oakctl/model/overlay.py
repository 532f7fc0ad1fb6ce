"""What nodes have to know of each other for traffic between them.

Belongs here: a node as others see it in the overlay. Does not belong here: services (`documents`),
how traffic gets there (`oakctl.overlay`), what a node tells of it (`overlay_report`).
"""

from __future__ import annotations

from dataclasses import dataclass

TUNNEL_PORT = 51820  # UDP

# Of a candidate, in the order in which they are tried.
LAN = "lan"  # the node says so of its own interfaces
DECLARED = "declared"  # its operator's word
SEEN = "seen"  # where its relay hears it from: its router's address and port


@dataclass(frozen=True)
class Candidate:
    """Where a node may be sent to directly; only trying shows whether it can from somewhere."""

    kind: str  # LAN, DECLARED, SEEN
    endpoint: str  # "192.168.1.5:51820"


@dataclass(frozen=True)
class OverlayNode:
    """One node of the overlay. Its private key is on it and nowhere else.

    `endpoint` is where others may send to, "203.0.113.5:51820"; empty: nowhere, it has to begin.
    A `relay` passes on what nodes of its cluster cannot send each other; it has an endpoint.
    `candidates` are what others may try instead of the relay.
    """

    worker: str
    cluster: str
    subnet: str
    public_key: str
    endpoint: str = ""
    relay: bool = False
    candidates: tuple[Candidate, ...] = ()
