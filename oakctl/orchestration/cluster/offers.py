"""The root's offers: accepted with a reservation, or refused with the verdict on every worker.

Idempotent on (service, number, epoch): an offer whose answer was lost is answered again the same
way. Its `deadline` is the root's clock and is not compared with ours; what makes a late offer
harmless is its epoch, and that the root withdraws what it did not mean by the next share.
"""

from __future__ import annotations

from dataclasses import replace

from oakctl.model.messages import Offer, OfferAnswer
from oakctl.orchestration.cluster import epochs
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.placement import Fleet, choose, place, why_not
from oakctl.orchestration.cluster.state import InstanceRecord, ServiceRecord, State


def offer(state: State, fleet: Fleet, asked: Offer, now: Now) -> tuple[State, OfferAnswer]:
    """Reserve a place, or say why there is none. Refused: the state is unchanged.

    Raises NotFound when the cluster's policy is not installed here.
    """
    job_name = asked.service.job_name
    record = state.instances.get((job_name, asked.number))
    if record is not None:
        given = epochs.root_epoch(record.epoch)
        if given > asked.epoch:
            return state, _refused(f"epoch {asked.epoch} is late: {given} is here")
        if given == asked.epoch and record.stopping:
            return state, _refused("it is being stopped here")
        if given == asked.epoch:
            return state, OfferAnswer(True, record.worker, reason=record.reason)
    known = state.services.get(job_name)
    if record is None and known is not None and known.spent.get(asked.number, -1) >= asked.epoch:
        return state, _refused(f"epoch {asked.epoch} is late: it has ended here")
    fresh = InstanceRecord(job_name, asked.number, epochs.first(asked.epoch), now.wall)
    knowing = _with_spec(state, asked)
    placed, decision = place(knowing, fleet, fresh, now, only=asked.worker)
    if decision.worker is None:
        reason = why_not(decision.verdicts)
        return state, OfferAnswer(False, verdicts=decision.verdicts, reason=reason)
    return placed, OfferAnswer(True, decision.worker, decision.verdicts)


def explain(state: State, fleet: Fleet, asked: Offer) -> OfferAnswer:
    """What an offer would be answered now; nothing is reserved. Raises NotFound as `offer`."""
    key = (asked.service.job_name, asked.number)
    decision = choose(state, fleet, asked.service, key, only=asked.worker)
    if decision.worker is None:
        reason = why_not(decision.verdicts)
        return OfferAnswer(False, verdicts=decision.verdicts, reason=reason)
    return OfferAnswer(True, decision.worker, decision.verdicts)


def _with_spec(state: State, asked: Offer) -> State:
    job_name = asked.service.job_name
    known = state.services.get(job_name) or ServiceRecord(job_name, None)
    return state.with_service(replace(known, spec=asked.service, gone_at=0.0))


def _refused(reason: str) -> OfferAnswer:
    return OfferAnswer(False, reason=reason)
