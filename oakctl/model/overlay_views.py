"""What `/v1/overlay` shows: modes, tables and paths of nodes, one way followed, tries from inside.

Belongs here: the shapes that the API promises; times in seconds since the epoch. Nodes are written
CLUSTER/WORKER. Does not belong here: how they are put together (`orchestration.root.overlay*`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.model.overlay_asking import Probe


@dataclass(frozen=True)
class Trouble:
    """Something that is not as it should be, and what to do."""

    where: str  # a cluster, a node, "a → b"
    words: str
    hint: str = ""  # the next command, or a sentence
    severity: str = "fault"  # fault, note


@dataclass(frozen=True)
class TableView:
    """A service table as a node goes by it."""

    job_name: str
    cluster: str  # whose instances it lists
    generation: int  # -1: it has none yet
    newest: int  # the generation that there is
    late: bool


@dataclass(frozen=True)
class NodeOverlayView:
    """One node."""

    name: str
    cluster: str
    status: str  # ready, suspect, dead, never-seen
    driver: str
    mode: str  # full, alone, loopback, host; empty: it has not said
    reason: str  # why it is no better mode
    subnet: str
    carrier: str = ""  # of its tunnel
    heard_at: float = 0.0  # when it told; 0: never
    tables_at: float = 0.0  # when its tables were put in force; 0: never
    late: bool = False  # one of its tables is not the newest
    tables: tuple[TableView, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairView:
    """The way from one node to another one that it has instances in use on."""

    a: str
    b: str
    kind: str  # direct, relayed, local, none, unknown
    reason: str
    round_trip_ms: float | None = None
    endpoint: str = ""
    relay: str = ""
    lost: float | None = None  # share of echoes, 0 to 1
    since: float = 0.0
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetView:
    """One instance behind an address."""

    instance: str
    address: str
    node: str
    ready: bool = True
    draining: bool = False


@dataclass(frozen=True)
class AddressView:
    """An address of a service."""

    job_name: str
    policy: str  # rr, closest, ...
    address: str
    expected: int
    targets: tuple[TargetView, ...] = ()


@dataclass(frozen=True)
class ClusterOverlayView:
    """How old what is shown of a cluster is, and why no newer."""

    name: str
    heard_at: float  # 0: never
    fault: str = ""


@dataclass(frozen=True)
class OverlayView:
    """The overlay of the whole fleet."""

    at: float
    clusters: tuple[ClusterOverlayView, ...] = ()
    nodes: tuple[NodeOverlayView, ...] = ()
    pairs: tuple[PairView, ...] = ()
    addresses: tuple[AddressView, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """An instance, judged from one node."""

    target: TargetView
    verdict: str  # takes calls, not ready, draining, unreachable, not attached, not listed
    reason: str = ""
    round_trip_ms: float | None = None
    path: str = ""  # "local cable", "direct", "by relay w1"


@dataclass(frozen=True)
class Choice:
    """Where one of the service's addresses leads from there."""

    policy: str
    address: str
    instances: tuple[str, ...]  # names, most likely first
    shares: tuple[float, ...]  # of new calls, 0 to 1
    why: str
    path: str = ""  # of the only one


@dataclass(frozen=True)
class TraceView:
    """A service as one node reaches it."""

    job_name: str
    node: str
    at: float  # of what the node said
    asked: bool  # it was asked now; otherwise it is what it told before
    driver: str
    knows: bool  # whether the node has a table of the service
    choices: tuple[Choice, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class Hop:
    """One stage of the way between two nodes."""

    at: str  # which machine, or what between two
    words: str
    good: bool | None = None  # None: not known
    round_trip_ms: float | None = None  # from the start to there


@dataclass(frozen=True)
class RouteView:
    """The way from one node to another, stage by stage."""

    a: str
    b: str
    kind: str
    hops: tuple[Hop, ...] = ()
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True)
class TriesView:
    """What was tried from inside one node."""

    node: str
    probes: tuple[Probe, ...] = ()
    fault: str = ""  # why there are none
    driver: str = ""
    untried: int = 0  # what there would have been to try besides

    @property
    def failed(self) -> bool:
        """Whether something of it is wrong."""
        return bool(self.fault) or any(probe.outcome == "failed" for probe in self.probes)


@dataclass(frozen=True)
class TestedView:
    """All that was tried."""

    at: float
    nodes: tuple[TriesView, ...] = ()
    troubles: tuple[Trouble, ...] = ()
