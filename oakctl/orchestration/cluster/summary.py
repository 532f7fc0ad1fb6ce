"""What the root is told of the cluster: its aggregate, instances, workers and tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from oakctl.model.messages import ClusterState, InstancePlace, ProcessUse, ScaleWish, WorkerSummary
from oakctl.model.peers import PeerSummary
from oakctl.model.resources import Location, Resources
from oakctl.model.tokens import TokenSummary
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.liveness import NOBODY, status_of
from oakctl.orchestration.cluster.placement import Fleet, candidates
from oakctl.orchestration.cluster.revisions import Documents
from oakctl.orchestration.cluster.state import NO_SHARE, State
from oakctl.orchestration.scheduling.aggregate import summarise

NONE: Mapping[str, int] = MappingProxyType({})


def cluster_state(
    state: State,
    fleet: Fleet,
    documents: Documents,
    *,
    location: Location | None,
    processes: Mapping[str, ProcessUse],
    session: str,
    seq: int,
    release: str = "",
    secrets: Mapping[str, int] = NONE,
    tokens: tuple[TokenSummary, ...] = (),
    peers: tuple[PeerSummary, ...] | None = None,
    wishes: tuple[ScaleWish, ...] = (),
    now: Now,
) -> ClusterState:
    """All that a root needs to catch up."""
    known = candidates(state, fleet)
    reserved = {candidate.name: candidate.reserved for candidate in known}
    policy = state.settings.policy
    return ClusterState(
        cluster=state.cluster,
        session=session,
        release=release,
        secrets=dict(secrets),
        tokens=tokens,
        peers=peers,
        wishes=wishes,
        seq=seq,
        sent_at=now.wall,
        aggregate=summarise(state.cluster, known, policy, location, now.wall),
        instances=tuple(
            InstancePlace(state.instances[key].shown(), state.instances[key].worker)
            for key in sorted(state.instances)
        ),
        workers=tuple(
            _worker(state, fleet, name, reserved, documents.desired_revision(name))
            for name in sorted(state.workers)
        ),
        shares={
            name: service.revision
            for name, service in sorted(state.services.items())
            if service.revision != NO_SHARE
        },
        tables=tuple(documents.own[name] for name in sorted(documents.own)),
        processes=dict(processes),
    )


def _worker(
    state: State,
    fleet: Fleet,
    name: str,
    reserved: Mapping[str, Resources],
    desired_revision: int,
) -> WorkerSummary:
    record = state.workers[name]
    presence = fleet.presences.get(name, NOBODY)
    return WorkerSummary(
        name=name,
        status=status_of(state, fleet.presences, name),
        cordoned=record.cordoned,
        facts=record.facts,
        usage=presence.usage,
        reserved=reserved.get(name, Resources()),
        last_heartbeat=presence.heard_wall,
        subnet=record.subnet,
        holds=fleet.holds.get(name, -1),
        is_current=presence.desired_revision >= desired_revision,
    )
