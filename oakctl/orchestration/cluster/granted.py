"""Granted roots that are let in and thrown out, and what is known of each. Pure.

Does not belong here: their bus accounts (`credentials`), what they are held to (`admission`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oakctl.model.roots import RootGrant, RootRevocation, RootRules, RootSummary
from oakctl.orchestration.cluster import accounts, admission
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.shares import stop
from oakctl.orchestration.cluster.state import RootRecord, State, drop, put


def let_in(state: State, asked: RootGrant, now: Now) -> State:
    """With a record of the root, and these rules for it."""
    known = state.roots.get(asked.name)
    if known is None:
        # What an earlier root of this name has left of its numbering would be in the way.
        occupied = {record.job_name for record in state.instances.values()}
        kept = {
            name: service
            for name, service in state.services.items()
            if accounts.owner_of(name) != asked.name or name in occupied
        }
        state = replace(state, services=kept)
    record = RootRecord(asked.name, asked.rules, known.since if known else now.wall)
    return replace(state, roots=put(state.roots, asked.name, record))


def thrown_out(state: State, asked: RootRevocation, now: Now) -> State:
    """Without the root; its services are withdrawn, unless they are to be kept."""
    state = replace(state, roots=drop(state.roots, asked.name))
    if asked.keep_running:
        return state
    others = [key for key in state.foreign if accounts.owner_of(key[0]) != asked.name]
    state = replace(state, foreign={key: state.foreign[key] for key in others})
    for job_name, service in tuple(state.services.items()):
        if accounts.owner_of(job_name) == asked.name and not service.gone_at:
            state = state.with_service(replace(service, gone_at=now.wall))
    for record in tuple(state.instances.values()):
        if accounts.owner_of(record.job_name) == asked.name:
            state = stop(state, record, now)
    return state


def summaries(state: State, asked_at: Mapping[str, float]) -> tuple[RootSummary, ...]:
    """Every granted root, and those that are out and have something here still."""
    counts: dict[str, int] = {}
    for record in state.instances.values():
        account = accounts.owner_of(record.job_name)
        if account:
            counts[account] = counts.get(account, 0) + 1
    return tuple(
        _summary(state, name, counts.get(name, 0), asked_at.get(name, 0.0))
        for name in sorted({*state.roots, *counts})
    )


def _summary(state: State, name: str, instances: int, asked_at: float) -> RootSummary:
    record = state.roots.get(name)
    return RootSummary(
        name=name,
        rules=record.rules if record else RootRules(),
        since=record.since if record else 0.0,
        instances=instances,
        uses=admission.uses(state, name),
        asked_at=asked_at,
        revoked=record is None,
    )
