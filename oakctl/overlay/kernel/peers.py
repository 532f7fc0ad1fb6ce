"""Who one node's tunnel goes to, and the commands from what it has to what it shall have. Pure.

Belongs here: relays, keys' owners and the subnets behind them. Does not belong here: making keys
and running the commands (`tunnel`), the tunnel's interface (`cables`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from oakctl.model.overlay import OverlayNode
from oakctl.overlay.kernel.ruleset import TUNNEL, Networks

# A node behind a router has to be heard of before the router forgets it; the least time a router
# is known to remember is 30 s.
KEEPALIVE_S = 15
KEY_BYTES = 32


@dataclass(frozen=True)
class Peer:
    """One other end of the tunnel. An empty endpoint is learned from what comes."""

    public_key: str
    endpoint: str = ""
    subnets: tuple[str, ...] = ()
    keepalive_s: int = 0


@dataclass(frozen=True)
class Seen:
    """A peer as the tunnel has it. `handshake_at` in seconds since the epoch; 0: never."""

    peer: Peer
    handshake_at: int = 0


def planned(worker: str, networks: Networks, nodes: Iterable[OverlayNode]) -> tuple[Peer, ...]:
    """The peers of `worker`, which is one of `nodes`; none where it is not.

    With a relay in its cluster (the first by name) a node sends all to that; a relay knows its
    cluster's nodes, and the relays of other clusters. Without one, nodes send to each other. What
    is no key, no subnet of the overlay or no endpoint gets into no command.
    """
    known = sorted((n for n in nodes if _is_sound(n, networks)), key=lambda n: n.worker)
    # Another cluster may have a worker of this name, but nobody else has the subnet.
    named = (node for node in known if node.worker == worker)
    me = min(named, key=lambda node: node.subnet != networks.subnet, default=None)
    if me is None:
        return ()
    relays = {node.cluster: node for node in reversed(known) if node.relay}
    others = [node for node in known if node.public_key != me.public_key]
    relay = relays.get(me.cluster)
    if relay is not None and relay is not me:
        behind = tuple(sorted(node.subnet for node in others))
        return (Peer(relay.public_key, relay.endpoint, behind, KEEPALIVE_S),)
    found = []
    for node in others:
        its_relay = relays.get(node.cluster)
        if its_relay is me:  # it begins; where it is, is learned
            found.append(Peer(node.public_key, subnets=(node.subnet,)))
        elif its_relay is node:
            behind = tuple(sorted(each.subnet for each in others if each.cluster == node.cluster))
            found.append(Peer(node.public_key, node.endpoint, behind, _keepalive(node)))
        elif its_relay is None and (me.endpoint or node.endpoint):
            found.append(Peer(node.public_key, node.endpoint, (node.subnet,), _keepalive(node)))
    return tuple(found)


def routes(networks: Networks, peers: Iterable[Peer]) -> list[str]:
    """Lines for `ip -batch`: the way to each subnet behind the tunnel.

    A route for each, not one for all: it is more specific than any that the host has of its own.
    """
    subnets = sorted({subnet for peer in peers for subnet in peer.subnets if _is_led(subnet)})
    return [f"route replace {each} dev {TUNNEL} src {networks.gateway}" for each in subnets]


def _is_led(subnet: str) -> bool:
    """A node's own addresses need no route: that of its subnet leads there too."""
    return not subnet.endswith("/32")


def gone_routes(listed: str, peers: Iterable[Peer]) -> list[str]:
    """Lines that take away routes into the tunnel that lead to nobody now, of `ip route` lists."""
    kept = {subnet for peer in peers for subnet in peer.subnets}
    there = (line.split()[0] for line in listed.splitlines() if line.strip())
    return [f"route delete {each} dev {TUNNEL}" for each in there if each not in kept]


def dump(text: str) -> list[Seen]:
    """What `wg show INTERFACE dump` prints, without its first line, which is the tunnel's own."""
    found = []
    for line in text.splitlines()[1:]:
        columns = line.split("\t")
        if len(columns) < 8:
            continue
        key, _, endpoint, allowed, handshake, _, _, keepalive = columns[:8]
        subnets = () if allowed == "(none)" else tuple(sorted(allowed.split(",")))
        seconds = int(keepalive) if keepalive.isdigit() else 0
        peer = Peer(key, "" if endpoint == "(none)" else endpoint, subnets, seconds)
        found.append(Seen(peer, int(handshake) if handshake.isdigit() else 0))
    return found


def difference(
    seen: Sequence[Seen], wanted: Sequence[Peer], said: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Commands that make `wanted` of what is there.

    `said` is the endpoint that each key was given last. Only another one is written: what the
    tunnel has learned since is newer than what we know.
    """
    keys = {peer.public_key for peer in wanted}
    there = {each.peer.public_key: each.peer for each in seen}
    for key in there:
        if key not in keys:
            yield ("wg", "set", TUNNEL, "peer", key, "remove")
    for peer in wanted:
        words = _changes(there.get(peer.public_key), peer, said.get(peer.public_key, ""))
        if words:
            yield ("wg", "set", TUNNEL, "peer", peer.public_key, *words)


def _changes(before: Peer | None, peer: Peer, said: str) -> tuple[str, ...]:
    words: tuple[str, ...] = ()
    if before is None or sorted(before.subnets) != sorted(peer.subnets):
        words += ("allowed-ips", ",".join(peer.subnets))
    if before is None or before.keepalive_s != peer.keepalive_s:
        words += ("persistent-keepalive", str(peer.keepalive_s))
    if peer.endpoint and (before is None or peer.endpoint != said):
        words += ("endpoint", peer.endpoint)
    return words


def _keepalive(node: OverlayNode) -> int:
    """Who can be begun with, is: our own endpoint may be one that only we believe in."""
    return KEEPALIVE_S if node.endpoint else 0


def _is_sound(node: OverlayNode, networks: Networks) -> bool:
    try:
        key = base64.b64decode(node.public_key, validate=True)
        inside = IPv4Network(node.subnet).subnet_of(IPv4Network(networks.nodes))
    except (binascii.Error, AddressValueError, NetmaskValueError, ValueError):
        return False
    sound = len(key) == KEY_BYTES and inside and (not node.endpoint or is_endpoint(node.endpoint))
    return sound and (bool(node.endpoint) or not node.relay)


def is_endpoint(text: str) -> bool:
    """Whether this is "ADDRESS:PORT" with an IPv4 address."""
    address, _, port = text.rpartition(":")
    try:
        IPv4Address(address)
    except AddressValueError:
        return False
    return port.isascii() and port.isdigit() and 0 < int(port) < 65536
