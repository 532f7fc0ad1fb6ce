"""The root's share: exactly these instances of a service. Pure.

The highest revision wins. The one in force is carried out again when it is sent again: a crash
may have stopped it half-way. Instances that are not listed are stopped, and forgotten when their
worker has confirmed that (`reports`).
"""

from __future__ import annotations

from dataclasses import replace

from oakctl.model.instance import InstanceState
from oakctl.model.messages import Answer, Share
from oakctl.orchestration.cluster import epochs
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.placement import Fleet, place, unplaced, why_not
from oakctl.orchestration.cluster.state import (
    NO_SHARE,
    InstanceRecord,
    ServiceRecord,
    State,
)


def share(state: State, fleet: Fleet, wanted: Share, now: Now) -> tuple[State, Answer]:
    """Put the share in force. Raises NotFound when the cluster's policy is not installed."""
    known = state.services.get(wanted.job_name)
    in_force = known.revision if known else NO_SHARE
    if wanted.revision < in_force:
        return state, Answer(False, f"revision {wanted.revision} is late: {in_force} is in force")
    if wanted.service is not None and wanted.service.job_name != wanted.job_name:
        return state, Answer(False, f"the share of {wanted.job_name} carries another service")
    state = state.with_service(_record(known, wanted, now))
    listed = wanted.instances if wanted.service is not None else {}
    for record in tuple(state.of(wanted.job_name)):
        if record.number not in listed:
            state = stop(state, record, now)
    for number in sorted(listed):
        state = _keep(state, fleet, wanted.job_name, number, listed[number], now)
    return state, Answer(True)


def stop(state: State, record: InstanceRecord, now: Now) -> State:
    """Ask for the end of an instance; one without a worker is forgotten at once."""
    if not record.worker:
        return state.without_instance(record.key)
    if record.stopping:
        return state
    stopped = replace(
        record,
        stopping=True,
        state=InstanceState.STOPPING,
        since=now.wall,
        reason="it is no longer wanted here",
    )
    return state.with_instance(stopped)


def _record(known: ServiceRecord | None, wanted: Share, now: Now) -> ServiceRecord:
    known = known or ServiceRecord(wanted.job_name, None)
    if wanted.service is not None:
        return replace(known, spec=wanted.service, revision=wanted.revision, gone_at=0.0)
    # The specification stays: it says what the instances that are being stopped still occupy.
    return replace(known, revision=wanted.revision, gone_at=known.gone_at or now.wall)


def _keep(
    state: State, fleet: Fleet, job_name: str, number: int, root_epoch: int, now: Now
) -> State:
    record = state.instances.get((job_name, number))
    if record is None:
        # Not offered to this store: it was lost, or the root has moved it here by itself.
        fresh = InstanceRecord(job_name, number, epochs.first(root_epoch), now.wall)
        return _placed(state, fleet, fresh, now, "the root wants it here")
    given = epochs.root_epoch(record.epoch)
    if given > root_epoch or (given == root_epoch and not record.stopping):
        return state
    if given < root_epoch:
        record = replace(unplaced(record, now, ""), epoch=epochs.first(root_epoch))
    return _placed(state, fleet, record, now, "the root wants it again")


def _placed(state: State, fleet: Fleet, record: InstanceRecord, now: Now, why: str) -> State:
    placed, decision = place(state, fleet, record, now, reason=why)
    if decision.worker is not None:
        return placed
    return state.with_instance(unplaced(record, now, why_not(decision.verdicts)))
