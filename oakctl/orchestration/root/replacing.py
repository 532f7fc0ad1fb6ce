"""Replaces instances one after the other, the new one first: restarts and migrations.

The new instance has a number of its own and is placed like any other. When it is ready, the old
one is withdrawn, and the next begins. One that is not ready in time is withdrawn itself, and the
rest is given up: what ran before goes on. Each step is one transaction, so a root that ends in
between goes on where it was.

Belongs here: which step is due (`step`, pure), and making it. Does not belong here: placing
(`root.driver`), the commands (`root.applying`, `root.moving`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sqlite_utils import Database

from oakctl.model.instance import InstanceState
from oakctl.model.service import instance_name
from oakctl.orchestration.root import placing
from oakctl.orchestration.root.delegation import Key, Phase, Row
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import events, replacements, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.root.store.replacements import Replacement

READY_S = 300.0  # for a new instance to be ready: an image may have to come first


@dataclass(frozen=True)
class Begin:
    """Want one more instance, with this number."""

    number: int


@dataclass(frozen=True)
class Finish:
    """The new one is ready: withdraw the old one."""


@dataclass(frozen=True)
class Skip:
    """There is nothing to replace any more."""


@dataclass(frozen=True)
class Halt:
    """The new one was not ready in time: withdraw it, and give up the rest."""


@dataclass(frozen=True)
class Sighted:
    """`ready` are (cluster, service, number): a copy that another cluster still has, of an offer
    that was given up, is not the one that is waited for. `away` are silent clusters."""

    ready: frozenset[tuple[str, str, int]] = frozenset()
    away: frozenset[str] = frozenset()


Step: TypeAlias = Begin | Finish | Skip | Halt


def step(asked: Replacement, rows: Sequence[Row], sighted: Sighted, waited_s: float) -> Step | None:
    """What is due of a service's first replacement; None: it waits.

    `rows` are the service's; `waited_s` is how long the new one has been waited for.
    """
    by_number = {row.number: row for row in rows}
    old = by_number.get(asked.old)
    if asked.new is None:
        if old is None or not old.wanted:
            return Skip()
        free = (number for number in range(len(rows) + 1) if number not in by_number)
        return Begin(next(free))
    new = by_number.get(asked.new)
    if new is None or not new.wanted:
        return Skip()
    if new.phase is Phase.PLACED:
        if new.cluster in sighted.away:
            return None  # it may be ready for long: who doesn't hear of it gives nothing up
        if (new.cluster, *new.key) in sighted.ready:
            return Finish()
    return Halt() if waited_s >= READY_S else None


def sight(links: Mapping[str, Link]) -> Sighted:
    """What the clusters say now."""
    return Sighted(
        frozenset(
            (link.name, place.observed.job_name, place.observed.number)
            for link in links.values()
            if link.reachable and link.state is not None
            for place in link.state.instances
            if place.observed.ready and place.observed.state is InstanceState.RUNNING
        ),
        frozenset(link.name for link in links.values() if not link.reachable),
    )


def cancel(db: Database, job_name: str, now: float) -> None:
    """Something else is wanted of the service now: what is not done of its replacements is not."""
    for asked in replacements.all_of(db, job_name):
        if asked.new is not None:
            _withdraw(db, (job_name, asked.new), now)
    replacements.forget(db, job_name)
    replacements.put_halt(db, job_name, "")


class Replacing:
    """One for a root; `why` says why an instance waits."""

    def __init__(self, store: Store, links: Mapping[str, Link], why: Callable[[Key], str]) -> None:
        self._store = store
        self._links = links
        self._why = why
        self._begun: dict[Key, float] = {}  # new instances, by a clock that nobody sets

    async def once(self) -> bool:
        """The steps that are due; True when there were some."""
        sighted = sight(self._links)
        return await self._store.run(lambda db: self._steps(db, sighted))

    def _steps(self, db: Database, sighted: Sighted) -> bool:
        first: dict[str, Replacement] = {}
        for asked in replacements.all_of(db):
            first.setdefault(asked.job_name, asked)
        new = {(one.job_name, one.new) for one in first.values() if one.new is not None}
        now = time.monotonic()
        self._begun = {key: self._begun.get(key, now) for key in new}
        made = [self._make(db, asked, sighted) for asked in first.values()]
        return any(made)

    def _waited(self, asked: Replacement) -> float:
        begun = self._begun.get((asked.job_name, asked.new)) if asked.new is not None else None
        return time.monotonic() - begun if begun is not None else 0.0

    def _make(self, db: Database, asked: Replacement, sighted: Sighted) -> bool:
        now = time.time()
        job, old = asked.job_name, asked.old
        due = step(asked, wanted.instances(db, job), sighted, self._waited(asked))
        if isinstance(due, Begin):
            wanted.put_instance(db, Row(job, due.number, True, since=now))
            replacements.begin(db, job, old, due.number, now)
            message = f"{instance_name(job, due.number)} is to take its place"
            events.append(db, now, "instance.replacing", instance_name(job, old), message)
        elif isinstance(due, Finish):
            assert asked.new is not None
            _withdraw(db, (job, old), now)
            replacements.forget(db, job, old)
            message = f"{instance_name(job, asked.new)} is ready and has taken its place"
            events.append(db, now, "instance.replaced", instance_name(job, old), message)
        elif isinstance(due, Skip):
            replacements.forget(db, job, old)
        elif isinstance(due, Halt):
            self._halt(db, asked, now)
        return due is not None

    def _halt(self, db: Database, asked: Replacement, now: float) -> None:
        assert asked.new is not None
        job, name = asked.job_name, instance_name(asked.job_name, asked.new)
        why = self._why((job, asked.new)) or "its readiness probe did not succeed"
        cancel(db, job, now)
        reason = f"{name} was not ready after {READY_S:.0f} s: {why}"
        replacements.put_halt(db, job, reason)
        message = "what is left keeps running as it is"
        events.append(db, now, "service.halted", job, message, reason=reason)


def _withdraw(db: Database, key: Key, now: float) -> None:
    row = wanted.instance(db, key)
    if row is None:
        return
    placing.withdraw(db, replace(row, wanted=False), now)
