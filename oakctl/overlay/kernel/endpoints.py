"""Where two nodes may send to each other without the relay, in the order in which to try. Pure.

Belongs here: choosing among a node's candidates. Does not belong here: when they are tried
(`paths`), who finds them (the agent its own, its relay what it sees of it).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from oakctl.model.overlay import DECLARED, LAN, SEEN, OverlayNode
from oakctl.overlay.kernel.peers import is_endpoint

KINDS = (LAN, DECLARED, SEEN)
_NEIGHBOURHOOD = 24  # the usual size of a local network


def kinds(me: OverlayNode, other: OverlayNode) -> tuple[str, ...]:
    """The kinds of endpoints to try, both sides the same kind at a time.

    One side's endpoint is enough: where the other is heard from is learned. What leads to the same
    as a kind before it is left out, and so are local addresses of nodes whose relays see them
    behind different routers.
    """
    found: list[str] = []
    tried: set[tuple[str, str]] = set()
    for kind in KINDS:
        ways = {(one.worker, at) for one, at in _both(me, other, kind) if at}
        if ways - tried and (kind != LAN or _may_be_near(me, other)):
            found.append(kind)
            tried |= ways
    return tuple(found)


def endpoint(me: OverlayNode, other: OverlayNode, kind: str) -> str:
    """The endpoint of the other of this kind; empty: it has none, and has to begin."""
    theirs = list(_of(other, kind))
    if kind != LAN or not theirs:
        return theirs[0] if theirs else ""
    mine = [_address(each) for each in _of(me, LAN)]
    return min(theirs, key=lambda each: min((_apart(_address(each), m) for m in mine), default=0))


def known(me: OverlayNode, other: OverlayNode) -> tuple[str, ...]:
    """All endpoints of both; when they change, it is worth to try again."""
    nodes = sorted((me, other), key=lambda node: node.public_key)
    return tuple(each for node in nodes for kind in KINDS for each in _of(node, kind))


def _both(me: OverlayNode, other: OverlayNode, kind: str) -> Iterator[tuple[OverlayNode, str]]:
    yield other, endpoint(me, other, kind)
    yield me, endpoint(other, me, kind)


def _of(node: OverlayNode, kind: str) -> Iterator[str]:
    if kind == DECLARED and node.endpoint:
        yield node.endpoint
    for candidate in node.candidates:
        if candidate.kind == kind and is_endpoint(candidate.endpoint):
            yield candidate.endpoint


def _may_be_near(me: OverlayNode, other: OverlayNode) -> bool:
    """Behind the same router, as far as one can know."""
    seen = [{_address(each) for each in _of(node, SEEN)} for node in (me, other)]
    if all(seen):
        return bool(seen[0] & seen[1])
    mine = [_address(each) for each in _of(me, LAN)]
    theirs = [_address(each) for each in _of(other, LAN)]
    return any(
        m in IPv4Network(f"{t}/{_NEIGHBOURHOOD}", strict=False) for m in mine for t in theirs
    )


def _address(text: str) -> IPv4Address:
    return IPv4Address(text.rpartition(":")[0])


def _apart(one: IPv4Address, other: IPv4Address) -> int:
    """How many of the last bits differ: few in one network."""
    return (int(one) ^ int(other)).bit_length()
