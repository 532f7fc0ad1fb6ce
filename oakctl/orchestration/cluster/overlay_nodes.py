"""The nodes of a cluster's kernel overlay, as they are told of each other. Pure.

Belongs here: where each may be sent to, and which one passes on for the others. Does not belong
here: services (`tables`), which ways are tried beside these (`oakctl.overlay.kernel`).

A node's own word on its address is worth something where nobody translates it: its operator has
declared the endpoint, or the bus sees its connection come from that same address. A node behind a
router claims none, so that nobody sends into some other network that has the same addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from oakctl.model import tunnel_endpoint
from oakctl.model.node import NodeFacts
from oakctl.model.overlay import OverlayNode
from oakctl.orchestration.cluster.state import State


def nodes(state: State) -> tuple[OverlayNode, ...]:
    """All nodes of this cluster's kernel overlay, by name."""
    known = {
        name: record.facts
        for name, record in sorted(state.workers.items())
        if record.facts is not None and record.facts.tunnel_key
    }
    passes_on = relay(known)
    return tuple(
        OverlayNode(
            name,
            state.cluster,
            state.workers[name].subnet,
            facts.tunnel_key,
            endpoint(facts),
            name == passes_on,
            tuple(state.candidates.get(name, ())),
        )
        for name, facts in known.items()
    )


def endpoint(facts: NodeFacts) -> str:
    """Where others may send to: "203.0.113.5:51820"; empty: nowhere that they could rely on."""
    if facts.tunnel_endpoint:
        return facts.tunnel_endpoint
    own = facts.address
    is_its_own = facts.seen_address in ("", own)  # of an agent that does not say: as it claims
    return (
        f"{own}:{facts.tunnel_port}"
        if own and is_its_own and tunnel_endpoint.is_address(own)
        else ""
    )


def relay(known: Mapping[str, NodeFacts]) -> str:
    """The node that all send by way of until they know better; empty: none, and none is needed.

    That is who is meant for it (the worker on the orchestrator's host, or as its operator says);
    else, where some cannot be sent to, the first by name that can, a public address before others.
    """
    reached = [name for name in sorted(known) if endpoint(known[name])]
    meant = [name for name in reached if known[name].relay]
    if meant or len(reached) == len(known):
        return next(iter(meant), "")
    return min(reached, key=lambda name: (not _is_public(known[name]), name), default="")


def _is_public(facts: NodeFacts) -> bool:
    return IPv4Address(endpoint(facts).rpartition(":")[0]).is_global
