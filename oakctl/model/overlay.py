"""What nodes have to know of each other for traffic between them.

Belongs here: a node as others see it in the overlay. Does not belong here: services (`documents`),
how traffic gets there (`oakctl.overlay`).
"""

from __future__ import annotations

from dataclasses import dataclass

TUNNEL_PORT = 51820  # UDP


@dataclass(frozen=True)
class OverlayNode:
    """One node of the overlay. Its private key is on it and nowhere else.

    `endpoint` is where others may send to, "203.0.113.5:51820"; empty: nowhere, it has to begin.
    A `relay` passes on what nodes of its cluster cannot send each other; it has an endpoint.
    """

    worker: str
    cluster: str
    subnet: str
    public_key: str
    endpoint: str = ""
    relay: bool = False
