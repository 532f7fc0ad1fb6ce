"""Services whose tables a worker needs because it asked for one of their addresses. Pure.

Belongs here: which addresses are known, and for how long an asker is told of them. Does not belong
here: other reasons for interest (`tables`), messages (`address_desk`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from oakctl.orchestration.cluster import tables
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.state import State

KEPT_S = 600.0  # after it was last asked for; workers ask again while flows are open
RENEWED_S = 120.0  # earlier than that nothing is written for being asked again
MOST_KEPT = 256  # of one worker: the oldest go first


def remember(
    state: State, worker: str, addresses: Iterable[str], now: Now
) -> tuple[State, frozenset[str]]:
    """With these among what the worker has asked for; and those that a service has."""
    known = frozenset(address for address in addresses if address in state.by_address)
    record = state.workers.get(worker)
    if record is None:
        return state, known
    told = tables.by_placement(state, worker)
    due = {
        address: now.wall
        for address in known
        if state.by_address[address] not in told
        and abs(now.wall - record.asked.get(address, 0.0)) > RENEWED_S
    }
    if not due:
        return state, known
    newest = sorted({**record.asked, **due}.items(), key=lambda item: (-item[1], item[0]))
    return state.with_worker(replace(record, asked=dict(newest[:MOST_KEPT]))), known


def forget(state: State, now: Now) -> State:
    """Without what nobody has asked for in a while; so, too, when the clock has jumped."""
    for record in tuple(state.workers.values()):
        kept = {a: at for a, at in record.asked.items() if abs(now.wall - at) <= KEPT_S}
        if len(kept) != len(record.asked):
            state = state.with_worker(replace(record, asked=kept))
    return state
