"""Giving an instance a worker, an address and an epoch. Pure.

Belongs here: what the scheduler is told of the workers, and the reservation, which is the
instance's own record. Does not belong here: when an instance is placed (`offers`, `shares`,
`sweep`), or which worker is best (`scheduling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from oakctl.errors import Conflict
from oakctl.model.instance import InstanceState
from oakctl.model.messages import Verdict
from oakctl.model.resources import Location, Resources
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.cluster import epochs
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.liveness import NOBODY, Presences, status_of
from oakctl.orchestration.cluster.state import InstanceRecord, Key, State, put
from oakctl.orchestration.scheduling.cluster import Candidate, PlacementDecision, decide
from oakctl.orchestration.scheduling.filters import claims
from oakctl.overlay import addressing

LONGEST_REASON = 600
EXHAUSTED = "it was placed anew too often for this cluster; scale it down and up again"


@dataclass(frozen=True)
class Fleet:
    """What is known of the workers right now besides their records.

    `leftovers` are resources of instances that a worker still has and should not: they are in
    use until it has stopped them. `holds` is how many instances a worker has by its last report.
    """

    presences: Presences
    leftovers: Mapping[str, Resources] = field(default_factory=dict)
    holds: Mapping[str, int] = field(default_factory=dict)
    unfit: frozenset[tuple[str, str]] = frozenset()
    """(job name, platform) for which a worker has found no image in its registry."""


def candidates(
    state: State, fleet: Fleet, job_name: str = "", without: Key | None = None
) -> tuple[Candidate, ...]:
    """The workers that were ever seen, as the scheduler wants them.

    `without` is an instance whose own reservation does not count: the one that is decided on.
    """
    reserved: dict[str, Resources] = {}
    of_service: dict[str, int] = {}
    total: dict[str, int] = {}
    published: dict[str, dict[tuple[str, int], str]] = {}
    for record in state.instances.values():
        if not record.worker or record.key == without:
            continue
        spec = state.spec(record.job_name)
        if spec is not None:
            reserved[record.worker] = reserved.get(record.worker, Resources()) + spec.requests
            ports = published.setdefault(record.worker, {})
            ports.update((port, spec.job_name) for port in _published(state, record.worker, spec))
        total[record.worker] = total.get(record.worker, 0) + 1
        if record.job_name == job_name:
            of_service[record.worker] = of_service.get(record.worker, 0) + 1
    return tuple(
        Candidate(
            name=worker.name,
            facts=worker.facts,
            usage=fleet.presences.get(worker.name, NOBODY).usage,
            reserved=reserved.get(worker.name, Resources())
            + fleet.leftovers.get(worker.name, Resources()),
            status=status_of(state, fleet.presences, worker.name),
            cordoned=worker.cordoned,
            instances_of_service=of_service.get(worker.name, 0),
            instances_total=total.get(worker.name, 0),
            host_ports=published.get(worker.name, {}),
        )
        for worker in state.workers.values()
        if worker.facts is not None
    )


def _published(state: State, worker: str, spec: ServiceSpec) -> tuple[tuple[str, int], ...]:
    """Ports of the host that an instance of the service takes there: (protocol, port)."""
    facts = state.workers[worker].facts if worker in state.workers else None
    return claims(spec, facts.overlay_driver if facts else "")


def choose(
    state: State,
    fleet: Fleet,
    spec: ServiceSpec,
    key: Key,
    avoid: Iterable[str] = (),
    only: str = "",
) -> PlacementDecision:
    """Which worker would run the instance, and what was found of each; raises NotFound for a
    policy that is not installed here. `only`: this worker or none."""
    avoided = set(avoid)
    offered = [
        c
        for c in candidates(state, fleet, spec.job_name, without=key)
        if c.name not in avoided and only in ("", c.name)
    ]
    decision = decide(
        spec,
        offered,
        state.settings.policy,
        cluster=state.cluster,
        peers=_peers(state, spec),
        unfit=frozenset(platform for job, platform in fleet.unfit if job == spec.job_name),
    )
    unseen = tuple(
        Verdict(worker.name, fits=False, reasons=("worker has not been seen yet",))
        for worker in state.workers.values()
        if worker.facts is None and only in ("", worker.name)
    )
    if only and only not in state.workers:
        unseen = (Verdict(only, fits=False, reasons=("there is no such worker",)),)
    return replace(decision, verdicts=decision.verdicts + unseen)


def place(
    state: State,
    fleet: Fleet,
    record: InstanceRecord,
    now: Now,
    *,
    avoid: Iterable[str] = (),
    reason: str = "",
    only: str = "",
) -> tuple[State, PlacementDecision]:
    """Give `record` a worker; unchanged state when none fits (the decision says why).

    An instance that has a worker already gets a higher epoch: its predecessor may still run.
    """
    spec = state.spec(record.job_name)
    assert spec is not None, f"{record.name} has no specification"
    epoch = epochs.successor(record.epoch) if record.worker else record.epoch
    if epoch is None:
        return state, PlacementDecision(None, (Verdict(state.cluster, False, 0.0, (EXHAUSTED,)),))
    full: list[str] = []
    verdicts: list[Verdict] = []
    while True:
        decision = choose(state, fleet, spec, record.key, (*avoid, *full), only)
        if decision.worker is None:
            return state, replace(decision, verdicts=decision.verdicts + tuple(verdicts))
        placed = replace(
            record,
            epoch=epoch,
            worker=decision.worker,
            state=InstanceState.NODE_SCHEDULED,
            since=now.wall,
            stopping=False,
            reason=reason,
            observed=None,
        )
        try:
            return _leased(state, placed, now), decision
        except Conflict as none_left:
            full.append(decision.worker)
            verdicts.append(Verdict(decision.worker, False, 0.0, (none_left.message,)))


def unplaced(record: InstanceRecord, now: Now, reason: str) -> InstanceRecord:
    """The record without a worker, waiting for one; above the placement that it had."""
    epoch = epochs.successor(record.epoch) if record.worker else record.epoch
    return replace(
        record,
        epoch=record.epoch if epoch is None else epoch,
        worker="",
        address="",
        observed=None,
        stopping=False,
        state=InstanceState.CLUSTER_SCHEDULED,
        since=now.wall,
        reason=reason,
    )


def why_not(verdicts: tuple[Verdict, ...], why: str = "") -> str:
    """The reason of an instance that has no place, in words; `why` is why it needs one."""
    text = f"no worker fits: {in_words(verdicts)}"
    return (f"{why}; {text}" if why else text)[:LONGEST_REASON]


def in_words(verdicts: tuple[Verdict, ...]) -> str:
    """Why nothing fits, one worker after the other."""
    if not verdicts:
        return "the cluster has no worker"
    return " · ".join(f"{v.candidate}: {'; '.join(v.reasons) or 'fits'}" for v in verdicts)


def _leased(state: State, record: InstanceRecord, now: Now) -> State:
    worker = state.workers[record.worker]
    leases = state.addresses.get(worker.name) or addressing.instance_addresses(worker.subnet)
    leases, address = addressing.lease(leases, record.holder, now.wall)
    state = replace(state, addresses=put(state.addresses, worker.name, leases))
    return state.with_instance(replace(record, address=address))


def _peers(state: State, spec: ServiceSpec) -> dict[str, tuple[Location, ...]]:
    """Where the instances are that this service talks to."""
    wanted = {link.target for link in spec.connectivity}
    found: dict[str, list[Location]] = {}
    for record in state.instances.values():
        worker = state.workers.get(record.worker)
        if record.job_name in wanted and worker and worker.facts and worker.facts.location:
            found.setdefault(record.job_name, []).append(worker.facts.location)
    for (job_name, _), table in state.foreign.items():
        places = [target.location for target in table.targets if target.location is not None]
        if job_name in wanted and places:
            found.setdefault(job_name, []).extend(places)
    return {job_name: tuple(places) for job_name, places in found.items()}
