"""Questions about the overlay, asked when somebody wants to know, and their answers.

Belongs here: root → cluster orchestrator → node, and back. Does not belong here: what nodes tell
without being asked (`messages`), what users are shown (`overlay_views`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.documents import ServiceTable
from oakctl.model.node import NodeFacts
from oakctl.model.overlay_report import OverlayReport

# Outcomes of a probe.
REACHED = "reached"
FAILED = "failed"
UNKNOWN = "unknown"  # UDP that nobody answers says nothing
NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class OverlayLook:
    """ "How is the overlay with you?" `probe`: and try now what it should lead to."""

    probe: bool = False


@dataclass(frozen=True)
class Lead:
    """Where one address of a service leads on a node, by what is in force there."""

    address: str
    policy: str  # "rr", "closest", ...
    instances: dict[str, float] = field(default_factory=dict)  # overlay address → share, 0 to 1
    holds: bool = False  # it leads nowhere, and calls wait for an instance
    by_client: bool = False  # one client's calls go to one instance


@dataclass(frozen=True)
class Reach:
    """Another node, as a node has measured it."""

    address: str  # its own overlay address
    reachable: bool
    round_trip_ms: float = -1.0  # less than 0: not measured


@dataclass(frozen=True)
class Probe:
    """One try from inside a node."""

    kind: str  # "ping", "ping large", "tcp", "udp"
    to: str  # "edge/w2", or an instance's or service's name
    address: str
    port: int = 0
    outcome: str = REACHED
    round_trip_ms: float = -1.0
    words: str = ""  # what went wrong, or why it says nothing
    node: str = ""  # CLUSTER/WORKER that it is on; empty: a service's address is on none


@dataclass(frozen=True)
class NodeSight:
    """The overlay as one node has it, at the moment in which it was asked."""

    worker: str
    at: float
    driver: str
    problems: tuple[str, ...] = ()
    tables: tuple[ServiceTable, ...] = ()  # as they came, one for each service and cluster
    leads: tuple[Lead, ...] = ()
    reach: tuple[Reach, ...] = ()  # of the nodes that it measures
    attached: tuple[str, ...] = ()  # own instances that run and have their interface
    measures: bool = False  # whether this driver measures, and has interfaces, at all
    probes: tuple[Probe, ...] = ()
    untried: int = 0  # what there would have been to try besides
    refusal: str = ""  # why nothing was tried that was asked for


@dataclass(frozen=True)
class OverlayQuestion:
    """What a cluster knows of its overlay; of `workers` their agents are asked now."""

    workers: tuple[str, ...] = ()
    probe: bool = False


@dataclass(frozen=True)
class NodeKnown:
    """What the orchestrator knows of one node without asking it."""

    worker: str
    status: str  # ready, suspect, dead, never-seen
    heartbeat_at: float
    subnet: str = ""
    facts: NodeFacts | None = None
    needs: tuple[tuple[str, str], ...] = ()  # (service, its cluster): the tables it shall have
    tables_revision: int = -1  # of the document it shall have
    has_revision: int = -1  # of the one it has, by its heartbeats
    report: OverlayReport | None = None  # what it told last of its overlay; None: nothing


@dataclass(frozen=True)
class OverlayAnswer:
    """All that a root is told; `tables` are the newest there are, of other clusters too."""

    cluster: str
    sent_at: float = 0.0
    nodes: tuple[NodeKnown, ...] = ()
    tables: tuple[ServiceTable, ...] = ()
    sights: tuple[NodeSight, ...] = ()
    silent: dict[str, str] = field(default_factory=dict)  # worker that did not answer → why
    error: str = ""
