"""What a node tells of the ways to others, and why they are as they are. Pure.

Belongs here: kinds of paths and reasons in words. Does not belong here: when it is sent, and all
else that is in a report (the agent).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oakctl.model.overlay import DECLARED, LAN, SEEN, OverlayNode
from oakctl.model.overlay_report import DIRECT, NONE, RELAYED, PathReport, SeenPeer
from oakctl.overlay import addressing
from oakctl.overlay.kernel.liveness import Pulse
from oakctl.overlay.kernel.paths import Pair, Phase
from oakctl.overlay.kernel.peers import Peer, Seen

IN_WORDS = {
    LAN: "its address in the local network",
    DECLARED: "its declared address",
    SEEN: "the address that its relay sees",
}


@dataclass(frozen=True)
class View:
    """What there is to tell of."""

    worker: str
    cluster: str
    nodes: Sequence[OverlayNode] = ()
    base: Sequence[Peer] = ()  # the tunnel's peers without direct ways
    seen: Sequence[Seen] = ()  # the tunnel's peers as they are
    pairs: Mapping[str, Pair] = field(default_factory=dict)  # by public key
    why: Mapping[str, str] = field(default_factory=dict)  # likewise, why a direct way ended
    pulses: Mapping[str, Pulse] = field(default_factory=dict)  # by a node's own address
    # What to add to a moment of the pairs' clock to get seconds since the epoch.
    since_epoch: float = 0.0


def paths(view: View) -> tuple[PathReport, ...]:
    """The path to each other node, by cluster and name."""
    others = sorted(
        (node for node in view.nodes if (node.cluster, node.worker) != (view.cluster, view.worker)),
        key=lambda node: (node.cluster, node.worker),
    )
    return tuple(_path(view, node) for node in others)


def seen(view: View) -> tuple[SeenPeer, ...]:
    """Where the tunnel hears peers from, by cluster and name."""
    there = {each.peer.public_key: each for each in view.seen}
    found = (
        SeenPeer(node.worker, node.cluster, one.peer.endpoint, float(one.handshake_at))
        for node in view.nodes
        if (one := there.get(node.public_key)) and one.peer.endpoint and one.handshake_at
    )
    return tuple(sorted(found, key=lambda each: (each.cluster, each.worker)))


def _path(view: View, node: OverlayNode) -> PathReport:
    pair = view.pairs.get(node.public_key)
    gateway = addressing.gateway(node.subnet)
    measured = view.pulses.get(gateway, Pulse())
    kind, reason, through = _way(view, node, pair)
    on_way = measured
    if pair is not None:
        on_way = pair.direct if pair.phase is Phase.DIRECT else pair.relayed
    counted = measured if measured.probes else on_way
    there = {each.peer.public_key: each for each in view.seen}
    carries = there.get(through.public_key) if through is not None else None
    round_trip = on_way.round_trip_ms if on_way.round_trip_ms >= 0 else measured.round_trip_ms
    since = pair.since + view.since_epoch if pair is not None and pair.since else 0.0
    return PathReport(
        node.worker,
        node.cluster,
        kind,
        reason,
        round(round_trip, 2) if round_trip >= 0 and kind != NONE else None,
        carries.peer.endpoint if carries is not None else "",
        through.worker if through is not None and kind == RELAYED else "",
        counted.probes,
        counted.lost,
        round(since, 3),
        float(carries.handshake_at) if carries is not None else 0.0,
    )


def _way(view: View, node: OverlayNode, pair: Pair | None) -> tuple[str, str, OverlayNode | None]:
    """The kind, the reason, and the node that the tunnel sends to for it."""
    if pair is not None and pair.phase is Phase.DIRECT:
        kind = pair.kinds[0] if pair.kinds else ""
        how = IN_WORDS.get(kind)
        reason = f"it answers at {how}" if how else "found in force when the agent started"
        return DIRECT, reason, node
    peer = next((each for each in view.base if node.subnet in each.subnets), None)
    if peer is None:
        return NONE, "neither has an address for the other to send to, and there is no relay", None
    through = next((each for each in view.nodes if each.public_key == peer.public_key), None)
    begun = next((s.handshake_at for s in view.seen if s.peer.public_key == peer.public_key), 0)
    name = through.worker if through is not None else "?"
    if not begun and peer.keepalive_s:
        return NONE, f"the tunnel to {name} ({peer.endpoint}) has no answer yet", through
    if peer.public_key != node.public_key:
        return RELAYED, _why_relayed(view, node, pair), through
    return DIRECT, _why_always(view, node), node


def _why_always(view: View, node: OverlayNode) -> str:
    me = next((n for n in view.nodes if (n.cluster, n.worker) == (view.cluster, view.worker)), None)
    if node.relay:
        return f"it is the relay of {node.cluster}"
    if me is not None and me.relay:
        return "this node is its relay"
    return "there is no relay: they send to the address that is known"


def _why_relayed(view: View, node: OverlayNode, pair: Pair | None) -> str:
    if pair is None:
        return "it is a relay, or this node is: what relays pass on goes by relays"
    if pair.phase is Phase.TRYING:
        return f"a direct path is being tried: {IN_WORDS.get(pair.kind, pair.kind)}"
    if not pair.wants and not pair.heard.wants:
        return "no traffic with it: no direct path is looked for"
    if pair.lost_at and pair.heard.phase is Phase.DIRECT and pair.heard_at <= pair.lost_at:
        return (
            f"the direct path was lost, and {node.worker} still sends there: its agent does not "
            "answer; calls are led elsewhere until it does"
        )
    if pair.lost_at:
        why = view.why.get(node.public_key, "") or "the direct path was lost"
        return f"the direct path was lost: {why}; it is tried again, more and more seldom"
    if pair.failures:
        tried = ", ".join(_distinct(IN_WORDS.get(kind, kind) for kind in pair.tried))
        return f"no direct path was found ({tried}): it is tried again, more and more seldom"
    if not pair.relayed.answers:
        return "it does not answer by the relay, so no direct path is looked for"
    return "no direct path was found yet"


def _distinct(words: Iterable[str]) -> Iterator[str]:
    yield from dict.fromkeys(words)
