"""What a node tells of its overlay: which way leads to whom and why, which tables are in force.

A worker sends it whole when something of it changed, though not more often than every few seconds,
and again from time to time; the newest replaces all before it. The orchestrator keeps it in memory
alone. Does not belong here: what a node shall do (`overlay`, `documents`).
"""

from __future__ import annotations

from dataclasses import dataclass

# Of a path.
DIRECT = "direct"  # from node to node
RELAYED = "relayed"  # by way of a relay
LOCAL = "local"  # no tunnel is needed: the loopback overlay, or the host's own network
NONE = "none"  # nothing gets there

# Of a node: what its overlay can do.
FULL = "full"  # service addresses, and a tunnel to other nodes
ALONE = "alone"  # service addresses; no other node is known, or there is no tunnel
LOOPBACK = "loopback"  # a relay of ours, between addresses of this machine
HOST = "host"  # nothing: instances are at the host's own address


@dataclass(frozen=True)
class PathReport:
    """The way from the node that reports to `worker` of `cluster`.

    Round-trips and losses are of echoes inside of the tunnel on the way that is in force. Nodes
    are measured when instances in use are on them, or when a direct way to them is there.
    """

    worker: str
    cluster: str
    kind: str  # DIRECT, RELAYED, LOCAL, NONE
    reason: str = ""  # why it is this way and no better one, in words
    round_trip_ms: float | None = None  # None: not measured
    endpoint: str = (
        ""  # "203.0.113.5:51820", where packets for it are sent: its own, or the relay's
    )
    relay: str = ""  # the worker that passes on, where it is relayed
    sent: int = 0  # echoes since the node was measured first, on whatever way
    lost: int = 0  # of these, those that had no answer in time
    since: float = (
        0.0  # when this kind of path came into force, seconds since the epoch; 0: unknown
    )
    handshake_at: float = 0.0  # of the tunnel with `endpoint`, seconds since the epoch; 0: never


@dataclass(frozen=True)
class TableInForce:
    """A service table as the node goes by it."""

    job_name: str
    cluster: str
    generation: int


@dataclass(frozen=True)
class SeenPeer:
    """Where the tunnel of the node that reports hears a peer from: what the peer itself cannot
    know when it is behind a router."""

    worker: str
    cluster: str
    endpoint: str
    handshake_at: float = 0.0  # seconds since the epoch; 0: never


@dataclass(frozen=True)
class OverlayReport:
    """All that a worker tells of its overlay."""

    worker: str
    agent_id: str  # as in heartbeats: `seq` begins anew with it
    seq: int
    sent_at: float  # seconds since the epoch, by the worker's clock
    driver: str  # "kernel", "loopback", "host"
    mode: str  # FULL, ALONE, LOOPBACK, HOST
    reason: str = ""  # why it is no better mode, in words
    problems: tuple[str, ...] = ()  # what is not as it should be, in words
    carrier: str = ""  # of the tunnel: "kernel" or "wireguard-go"; empty: there is none
    paths: tuple[PathReport, ...] = ()  # to all other nodes it knows, by cluster and name
    tables: tuple[TableInForce, ...] = ()
    tables_revision: int = -1  # of the document they came with; -1: none yet
    tables_at: float = 0.0  # when it was put in force, seconds since the epoch; 0: none yet
    seen: tuple[SeenPeer, ...] = ()  # where peers are heard from: of a relay, all its nodes
    listens: tuple[str, ...] = ()  # where others in its own networks may send: "192.168.1.5:51820"
