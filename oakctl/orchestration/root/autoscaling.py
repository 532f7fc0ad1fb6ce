"""Follows what clusters find of numbers of instances, which are the root's in every cluster.

Belongs here: when a cluster's wish counts, and the bounds of a whole service. Does not belong here:
what is measured, and the wish (`cluster.autoscale`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from sqlite_utils import Database

from oakctl.model.messages import ScaleWish, Verdict
from oakctl.model.service import Autoscale
from oakctl.model.views import Decision
from oakctl.orchestration.root import applying
from oakctl.orchestration.root.delegation import Phase, Row
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import records, replacements, wanted
from oakctl.orchestration.root.store.database import Store


def follow(rules: Autoscale, rows: Sequence[Row], cluster: str, wish: ScaleWish) -> int:
    """How many instances the service shall have; as many as now while the wish does not count.

    It is about those that the cluster had: with another number there it is late, and with an
    instance that has no place yet one more would only wait beside it.
    """
    here = [row for row in rows if row.wanted and row.cluster == cluster]
    have = sum(row.wanted for row in rows)
    change = wish.wanted - wish.have
    waiting = any(row.wanted and row.phase in (Phase.UNPLACED, Phase.OFFERED) for row in rows)
    if len(here) != wish.have or (change > 0 and waiting):
        return have
    return min(max(have + change, rules.minimum), rules.maximum)


class Autoscaling:
    """What was followed last, for each service."""

    def __init__(self, store: Store, links: Mapping[str, Link]) -> None:
        self._store = store
        self._links = links
        self._followed: dict[str, float] = {}  # job name → when, monotonic

    async def once(self) -> bool:
        """Follow what counts of the wishes that there are; True when a number is another now."""
        changed = False
        for link in list(self._links.values()):
            if link.reachable and link.state is not None:
                for wish in link.state.wishes:
                    changed |= await self._store.run(
                        partial(self._follow, cluster=link.name, wish=wish)
                    )
        return changed

    def _follow(self, db: Database, cluster: str, wish: ScaleWish) -> bool:
        job = wish.job_name
        service = next((row for row in wanted.services(db) if row.spec.job_name == job), None)
        if service is None or service.spec.autoscale is None:
            return False
        owner = wanted.application(db, service.spec.application)
        rules = service.spec.autoscale
        pace = rules.up if wish.wanted > wish.have else rules.down
        last = self._followed.get(job)
        if (
            owner is None
            or owner.deleting
            or (last is not None and time.monotonic() - last < pace.cooldown_s)
        ):
            return False
        if replacements.all_of(db, job):
            return False  # one more than wanted is there for a while, which is no lack of load
        rows = wanted.instances(db, job)
        have = sum(row.wanted for row in rows)
        count = follow(rules, rows, cluster, wish)
        if count == have:
            return False
        now = time.time()
        applying.scale(db, job, count, now, why=f"{cluster}: {wish.reason}")
        verdict = Verdict(cluster, True, 0.0, (wish.reason,))
        outcome = f"{count} instances, {have} before"
        records.add_decision(db, job, Decision(now, job, cluster, outcome, (verdict,)))
        self._followed[job] = time.monotonic()
        return True
