"""What a pass of delegation looks at: the stored side in one transaction, and what links know.

Belongs here: from rows and cluster states to `delegation`'s own terms. Does not belong here:
what follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlite_utils import Database

from oakctl.model.instance import InstanceState
from oakctl.model.messages import Aggregate, Share, Verdict
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.delegation import Key, Phase, Row, Seat, Service, ShareRow, Sight
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import fleet, replacements, wanted
from oakctl.orchestration.scheduling import root as scheduling


@dataclass(frozen=True)
class Stored:
    """What one pass reads from the database."""

    rows: tuple[Row, ...]
    shares: tuple[ShareRow, ...]
    services: Mapping[str, Service]
    clusters: tuple[fleet.ClusterRow, ...]
    workers: frozenset[tuple[str, str]] = frozenset()  # cluster, worker
    targets: Mapping[Key, tuple[str, str]] = field(default_factory=dict)  # cluster, worker


def read(db: Database) -> Stored:
    """Everything that is wanted, in one look."""
    deleting = {row.name for row in wanted.applications(db) if row.deleting}
    services = {
        row.spec.job_name: Service(row.spec, row.spec.application in deleting)
        for row in wanted.services(db)
    }
    return Stored(
        tuple(wanted.instances(db)),
        tuple(wanted.shares(db)),
        services,
        tuple(fleet.clusters(db)),
        frozenset((row.cluster, row.name) for row in fleet.workers(db)),
        replacements.targets(db),
    )


def rank(
    spec: ServiceSpec, sights: Iterable[Sight], spread: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[Verdict, ...]]:
    """`scheduling.root.rank` over what the root sees of its clusters."""
    aggregates: list[Aggregate] = []
    unreachable: dict[str, str] = {}
    for sight in sights:
        if sight.reachable and sight.aggregate is not None:
            aggregates.append(sight.aggregate)
        else:
            unreachable[sight.name] = sight.reason or "it has not said what it has"
    ranking = scheduling.rank(
        spec, aggregates, instances_of_service=spread, unreachable=unreachable
    )
    return ranking.order, ranking.verdicts


def sight(row: fleet.ClusterRow, link: Link | None) -> Sight:
    """What is known of a cluster now."""
    if link is None:
        return Sight(row.name, False, "its bootstrap is not complete", accepts_offers=False)
    state = link.state
    if state is None:
        accepts = row.state == "ready"
        return Sight(row.name, False, link.reason, accepts_offers=accepts, last_seen=link.last_seen)
    return Sight(
        row.name,
        link.reachable,
        link.reason,
        state.aggregate,
        row.state == "ready",
        frozenset(
            (place.observed.job_name, place.observed.number)
            for place in state.instances
            if place.observed.state is not InstanceState.UNDEPLOYED
        ),
        state.shares,
        dict(link.confirmed),
        link.last_seen,
    )


def capacity(sight: Sight) -> object:
    """What of a cluster makes it worth asking again."""
    a = sight.aggregate
    if a is None:
        return sight.reachable, sight.accepts_offers
    return (
        sight.reachable,
        sight.accepts_offers,
        (a.policy, a.workers, a.capacity, a.free, a.largest_free),
        (a.runtimes, a.location, a.area_km, a.worker_names),
    )


def current_share(db: Database, seat: Seat) -> Share | None:
    """A cluster's share of a service as it is wanted now; None when there is none."""
    cluster, job_name = seat
    found = [s for s in wanted.shares(db) if (s.cluster, s.job_name) == seat and s.is_open]
    if not found:
        return None
    revision = found[0].revision
    service = read(db).services.get(job_name)
    if service is None or service.deleting:
        return Share(job_name, revision, None)
    instances = {
        row.number: row.epoch
        for row in wanted.instances(db, job_name)
        if row.cluster == cluster and row.phase is Phase.PLACED
    }
    return Share(job_name, revision, service.spec, instances)
