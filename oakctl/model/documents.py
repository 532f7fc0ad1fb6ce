"""The versioned documents between a cluster orchestrator and its workers.

Belongs here: what is sent whole and replaced whole. A document with a lower revision than the
one in force is late and ignored. Does not belong here: requests and answers (`messages`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.instance import DesiredInstance, InstanceStatistics, ObservedInstance
from oakctl.model.node import Usage
from oakctl.model.overlay import OverlayNode
from oakctl.model.resources import Location
from oakctl.model.service import Port, ServiceAddresses


@dataclass(frozen=True)
class DesiredDocument:
    """All that one worker shall run. `revision` only ever grows, for one worker."""

    worker: str
    revision: int
    subnet: str  # the worker's overlay subnet, "10.18.0.64/26"
    instances: tuple[DesiredInstance, ...] = ()


@dataclass(frozen=True)
class TableTarget:
    """One instance behind a service address."""

    number: int
    address: str  # overlay address of the instance
    worker: str
    cluster: str
    node_address: str  # underlay address of its node
    ready: bool = True
    draining: bool = False
    loopback_number: int | None = None  # of its node; None: not on the loopback overlay
    location: Location | None = None
    weight: int = 1  # share of new flows, by the descriptor; 0: only when nobody else has one
    spare: int = 1  # likewise through the least loaded address, by what it has to spare


@dataclass(frozen=True)
class ServiceTable:
    """Where a service's addresses lead. `generation` only ever grows, for one (service, cluster).

    A table of a cluster lists the targets of that cluster alone; a node joins the tables of
    all clusters. No targets: known, and without a live instance.
    """

    job_name: str
    cluster: str
    generation: int
    addresses: ServiceAddresses
    ports: tuple[Port, ...] = ()
    targets: tuple[TableTarget, ...] = ()
    expected: int = 0  # instances that there shall be; with no target, a replacement is on its way
    affinity: str = ""  # `service.BY_CLIENT`: new flows of one client go to one instance


@dataclass(frozen=True)
class TablesDocument:
    """The tables of every service that instances on one worker talk to."""

    worker: str
    revision: int
    tables: tuple[ServiceTable, ...] = ()
    nodes: tuple[OverlayNode, ...] = ()  # of the kernel overlay, the worker's own among them


@dataclass(frozen=True)
class Heartbeat:
    """Once a second from each worker. Late ones are told by `seq` and `sent_at`."""

    worker: str
    agent_id: str  # random, new with each start of the agent
    seq: int
    sent_at: float
    desired_revision: int
    tables_revision: int
    usage: Usage = Usage()


@dataclass(frozen=True)
class Report:
    """All instances a worker has, sent whole whenever one changes, until it is acknowledged."""

    worker: str
    agent_id: str
    seq: int
    sent_at: float
    desired_revision: int
    instances: tuple[ObservedInstance, ...] = ()


@dataclass(frozen=True)
class StatisticsReport:
    """Consumption of every instance of a worker, every two seconds."""

    worker: str
    seq: int
    sent_at: float
    instances: tuple[InstanceStatistics, ...] = field(default_factory=tuple)
