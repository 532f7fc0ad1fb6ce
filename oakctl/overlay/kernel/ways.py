"""Direct peers beside those that are always there, as the tunnel shall have them. Pure.

A tunnel takes a node's packets from one peer alone, the one with the longest of matching subnets.
So a direct peer that is only tried has but one address of its node, which nothing else uses; one
that is in force has the node's whole subnet, and another such address stays with the relay: both
ways can be asked at any time. Does not belong here: which pairs are direct (`paths`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oakctl.model.overlay import OverlayNode
from oakctl.overlay import addressing
from oakctl.overlay.kernel.peers import KEEPALIVE_S, Peer, Seen


@dataclass(frozen=True)
class Way:
    """A direct way to a node. With another `trial` the tunnel's peer is made anew: it asks then
    at once, and forgets where it heard the node from."""

    endpoint: str = ""  # empty: the other begins
    in_force: bool = False
    trial: int = 0


def with_direct(
    subnet: str,
    base: Sequence[Peer],
    nodes: Iterable[OverlayNode],
    ways: Mapping[str, Way],
    seen: Sequence[Seen],
) -> tuple[Peer, ...]:
    """All peers of the node with this subnet: `base`, and a direct one for each of `ways`.

    These are by public key. Where the tunnel hears a node from is newer than any endpoint that we
    know. Direct peers come first: they take a subnet over before the relay gives it up.
    """
    learned = {each.peer.public_key for each in seen if each.peer.endpoint}
    direct: list[Peer] = []
    moved: dict[str, str] = {}
    for node in eligible(subnet, base, nodes):
        way = ways.get(node.public_key)
        if way is None:
            continue
        led = f"{addressing.direct(node.subnet)}/32"
        if way.in_force:
            led = node.subnet
            moved[node.subnet] = f"{addressing.relayed(node.subnet)}/32"
        endpoint = "" if node.public_key in learned else way.endpoint
        # A tunnel that is to keep somebody in mind of it asks at once, in vain where there is no
        # endpoint yet, and then not again for seconds.
        begins = way.in_force or way.endpoint
        direct.append(Peer(node.public_key, endpoint, (led,), KEEPALIVE_S if begins else 0))
    others = (
        replace(peer, subnets=tuple(sorted(moved.get(each, each) for each in peer.subnets)))
        for peer in base
    )
    return (*direct, *others)


def eligible(subnet: str, base: Sequence[Peer], nodes: Iterable[OverlayNode]) -> list[OverlayNode]:
    """The nodes that a direct way may be tried to, for the one with this subnet.

    A relay leads to them. Who passes on for others is not among them: what it passes on would go
    the direct way too, and be taken for a lie at its end, where it is to come by the other's relay.
    """
    known = list(nodes)
    keys = {peer.public_key for peer in base}
    behind = {each for peer in base for each in peer.subnets}
    if any(node.subnet == subnet and _passes_on(node, known) for node in known):
        return []
    return [
        node
        for node in known
        if node.subnet in behind and node.public_key not in keys and not _passes_on(node, known)
    ]


def _passes_on(node: OverlayNode, nodes: Iterable[OverlayNode]) -> bool:
    """Whether there is anybody that it is the relay of."""
    return node.relay and any(
        other.cluster == node.cluster and other.public_key != node.public_key for other in nodes
    )


def found(
    subnet: str, base: Sequence[Peer], nodes: Iterable[OverlayNode], seen: Iterable[Seen]
) -> dict[str, Way]:
    """The direct ways that an earlier agent has left in force."""
    there = {each.peer.public_key: each.peer for each in seen}
    return {
        node.public_key: Way(there[node.public_key].endpoint, in_force=True)
        for node in eligible(subnet, base, nodes)
        if node.public_key in there and node.subnet in there[node.public_key].subnets
    }
