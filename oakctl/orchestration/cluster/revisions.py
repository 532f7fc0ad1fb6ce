"""Revisions and generations: what changed gets a higher number than anything before. Pure.

All numbers come from one counter. Its mark is stored ahead of use, and a start begins above both
the mark and the wall clock in milliseconds, so numbers grow even over a lost store or a clock that
was set back. After a start every document has a new number: whoever has an older one takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from oakctl.model.documents import DesiredDocument, ServiceTable, TablesDocument
from oakctl.model.peers import PeerDocument
from oakctl.orchestration.cluster import desired, peer_tables, tables
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.state import Key, State

D = TypeVar("D", DesiredDocument, TablesDocument, PeerDocument)

STRIDE = 1000  # numbers that one stored mark is good for


@dataclass(frozen=True)
class Documents:
    """Every document in force, with its number."""

    counter: int
    desired: Mapping[str, DesiredDocument] = field(default_factory=dict)
    tables: Mapping[str, TablesDocument] = field(default_factory=dict)
    own: Mapping[str, ServiceTable] = field(default_factory=dict)
    told: Mapping[str, PeerDocument] = field(default_factory=dict)  # other cluster → for it

    def desired_revision(self, worker: str) -> int:
        """Of the worker's desired document; 0 when there is none."""
        document = self.desired.get(worker)
        return document.revision if document else 0


def at_start(state: State, now: Now) -> Documents:
    """No document yet, and a counter above everything that was given out before."""
    return Documents(max(state.settings.mark, int(now.wall * 1000)))


def settle(
    state: State,
    before: Documents,
    spares: Mapping[Key, int] = tables.NONE_KNOWN,
    sought: frozenset[str] = frozenset(),
) -> tuple[State, Documents]:
    """The documents of `state`, and the state with a mark above their numbers.

    `sought` are addresses of services that other clusters are asked for.
    """
    numbers = _Counter(before.counter)
    own = {
        job_name: _numbered_table(table, before.own.get(job_name), numbers)
        for job_name, table in tables.own_tables(state, spares).items()
    }
    wanted, needed = {}, {}
    for worker in state.workers:
        wanted[worker] = _numbered(
            desired.document(state, worker, 0), before.desired.get(worker), numbers
        )
        needed[worker] = _numbered(
            tables.for_worker(state, worker, own, 0), before.tables.get(worker), numbers
        )
    told = {
        name: _numbered(document, before.told.get(name), numbers)
        for name, document in peer_tables.documents(state, own, sought).items()
    }
    if numbers.last > state.settings.mark:
        mark = numbers.last + STRIDE
        state = replace(state, settings=replace(state.settings, mark=mark))
    return state, Documents(numbers.last, wanted, needed, own, told)


class _Counter:
    def __init__(self, last: int) -> None:
        self.last = last

    def next(self) -> int:
        self.last += 1
        return self.last


def _numbered_table(
    table: ServiceTable, before: ServiceTable | None, numbers: _Counter
) -> ServiceTable:
    if before is not None and replace(table, generation=before.generation) == before:
        return before
    return replace(table, generation=numbers.next())


def _numbered(document: D, before: D | None, numbers: _Counter) -> D:
    if before is not None and replace(document, revision=before.revision) == before:
        return before
    return replace(document, revision=numbers.next())
