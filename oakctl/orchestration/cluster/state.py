"""What a cluster orchestrator knows for good: immutable records, each stored under one key.

Belongs here: the records and the questions that several rules ask of them. Every change makes a
new `State`; nothing in one is ever altered in place. Does not belong here: what is forgotten when
the process ends (`liveness`, `revisions`, `sweep`), or how records are stored (`store`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from oakctl.model.documents import ServiceTable
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.node import NodeFacts
from oakctl.model.overlay import Candidate, OverlayNode
from oakctl.model.roots import RootRules
from oakctl.model.service import ServiceSpec, instance_name
from oakctl.orchestration.cluster import epochs
from oakctl.overlay.addressing import Leases

Key = tuple[str, int]  # job name, instance number
K = TypeVar("K")
V = TypeVar("V")

NO_SHARE = -1  # revision of a service that was offered and not shared yet


@dataclass(frozen=True)
class SettingsRecord:
    """What the operator set, and the mark below which every revision was given out."""

    policy: str
    mark: int = 0


@dataclass(frozen=True)
class RootRecord:
    """A root that the owner let in."""

    name: str
    rules: RootRules
    since: float  # seconds since the epoch


@dataclass(frozen=True)
class PeerRecord:
    """Another cluster of the same operator, and what it told of itself besides tables."""

    cluster: str
    block: str  # its node subnets; what it says of addresses elsewhere is not believed
    wants: tuple[str, ...] = ()  # services whose tables it needs, or addresses of some
    nodes: tuple[OverlayNode, ...] = ()


@dataclass(frozen=True)
class WorkerRecord:
    """A worker with a credential. `facts` are None until it was seen for the first time."""

    name: str
    cordoned: bool = False
    subnet: str = ""
    facts: NodeFacts | None = None
    agent_id: str = ""  # of the agent that greeted last; reports of others are late
    report_seq: int = 0  # of the last report of that agent that changed anything
    asked: dict[str, float] = field(default_factory=dict)
    """Service address → when the worker asked for it last (`asked`)."""


@dataclass(frozen=True)
class ServiceRecord:
    """A service, and the revision of the share in force.

    `gone_at` > 0: the root has withdrawn it (seconds since the epoch). The record stays a while,
    so that a late share does not bring the service back; nor does a late offer bring back an
    instance: `spent` is number → the root's epoch that has ended here.
    """

    job_name: str
    spec: ServiceSpec | None
    revision: int = NO_SHARE
    gone_at: float = 0.0
    spent: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class InstanceRecord:
    """One instance; where it has a worker, its resources are reserved there by this record.

    `stopping`: no longer wanted; it is forgotten when its worker has confirmed that it is gone.
    """

    job_name: str
    number: int
    epoch: int  # as `epochs` makes it
    since: float  # of `state`, seconds since the epoch
    state: InstanceState = InstanceState.CLUSTER_SCHEDULED
    worker: str = ""  # empty: waits for a place
    address: str = ""
    stopping: bool = False
    reason: str = ""
    observed: ObservedInstance | None = None

    @property
    def key(self) -> Key:
        """Job name and number."""
        return self.job_name, self.number

    @property
    def name(self) -> str:
        """`<job name>.instance.<number>`."""
        return instance_name(self.job_name, self.number)

    @property
    def holder(self) -> str:
        """Who holds its address: this placement, not the instance.

        A predecessor may still use its own address while it is being stopped.
        """
        return f"{self.name}@{self.epoch}"

    def shown(self) -> ObservedInstance:
        """As the cluster shows it: what the worker sees, with the cluster's own word on it."""
        seen = self.observed or ObservedInstance(
            self.job_name, self.number, self.epoch, self.state, self.since
        )
        ready = seen.ready and self.state == InstanceState.RUNNING
        return replace(
            seen,
            epoch=self.epoch,
            state=self.state,
            since=self.since,
            ready=ready,
            reason=self.reason,
            address=self.address,
        )


@dataclass(frozen=True)
class State:
    """Everything durable of one cluster."""

    cluster: str
    settings: SettingsRecord
    subnets: Leases
    workers: Mapping[str, WorkerRecord] = field(default_factory=dict)
    addresses: Mapping[str, Leases] = field(default_factory=dict)  # worker → its instances'
    services: Mapping[str, ServiceRecord] = field(default_factory=dict)
    instances: Mapping[Key, InstanceRecord] = field(default_factory=dict)
    foreign: Mapping[tuple[str, str], ServiceTable] = field(default_factory=dict)
    """(job name, other cluster) → its table."""
    roots: Mapping[str, RootRecord] = field(default_factory=dict)
    peers: Mapping[str, PeerRecord] = field(default_factory=dict)
    # By worker. The one thing here that is not stored: after a start workers tell it anew.
    candidates: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)

    def spec(self, job_name: str) -> ServiceSpec | None:
        """The specification of a service, where one is known."""
        service = self.services.get(job_name)
        return service.spec if service else None

    def on(self, worker: str) -> Iterator[InstanceRecord]:
        """The instances placed on a worker, those being stopped among them."""
        return iter(self._by_worker.get(worker, ()))

    def of(self, job_name: str) -> Iterator[InstanceRecord]:
        """The instances of a service."""
        return (record for record in self.instances.values() if record.job_name == job_name)

    @cached_property
    def by_address(self) -> Mapping[str, str]:
        """Service address → the service that has it, as far as is known here."""
        found: dict[str, str] = {}
        for job_name, service in self.services.items():
            if service.spec is not None:
                found.update((address, job_name) for address in service.spec.addresses.given)
        for (job_name, _), table in self.foreign.items():
            for address in table.addresses.given:
                found.setdefault(address, job_name)
        return found

    @cached_property
    def _by_worker(self) -> Mapping[str, tuple[InstanceRecord, ...]]:
        # A state never changes, so each is indexed once.
        found: dict[str, list[InstanceRecord]] = {}
        for record in self.instances.values():
            found.setdefault(record.worker, []).append(record)
        return {worker: tuple(records) for worker, records in found.items()}

    def with_instance(self, record: InstanceRecord) -> State:
        """With this record in place of the one of the same instance."""
        return replace(self, instances=put(self.instances, record.key, record))

    def without_instance(self, key: Key) -> State:
        """Without the record of this instance; its epoch is over."""
        state = replace(self, instances=drop(self.instances, key))
        service = self.services.get(key[0])
        if service is None:
            return state
        ended = max(epochs.root_epoch(self.instances[key].epoch), service.spent.get(key[1], 0))
        return state.with_service(replace(service, spent={**service.spent, key[1]: ended}))

    def with_worker(self, record: WorkerRecord) -> State:
        """With this record in place of the one of the same worker."""
        return replace(self, workers=put(self.workers, record.name, record))

    def with_service(self, record: ServiceRecord) -> State:
        """With this record in place of the one of the same service."""
        return replace(self, services=put(self.services, record.job_name, record))


def put(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    """A copy of `mapping` with one entry set."""
    return {**mapping, key: value}


def drop(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    """A copy of `mapping` without one entry."""
    return {name: value for name, value in mapping.items() if name != key}
