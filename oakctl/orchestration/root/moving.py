"""Commands that replace instances: a restart of a service, a migration of one instance.

Belongs here: what is asked for, and why it is refused, before anything changes. Does not belong
here: the steps that follow (`root.replacing`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model import subjects
from oakctl.model.messages import Offer, OfferAnswer
from oakctl.model.service import ServiceSpec, instance_name
from oakctl.orchestration.root import names, placing, replacing
from oakctl.orchestration.root.delegation import OFFER_TIMEOUT_S, Phase, Row
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import events, fleet, replacements, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.root.store.replacements import Replacement


def restart(db: Database, name: str, now: float, *, at_once: bool = False) -> str:
    """Replace every instance, one after the other; `at_once`: all end, and are placed anew.

    Returns the job name. Raises NotFound, or Conflict while it is being deleted.
    """
    spec = _service(db, name)
    job = spec.job_name
    replacing.cancel(db, job, now)
    rows = [row for row in wanted.instances(db, job) if row.wanted]
    if at_once:
        for row in rows:
            placing.withdraw(db, row, now, keep_wanted=True)
    else:
        for row in rows:
            if row.phase is not Phase.UNPLACED:  # what has no place has nothing to restart
                replacements.add(db, Replacement(job, row.number, since=now))
    count = f"{len(rows)} instance{'' if len(rows) == 1 else 's'}"
    how = "end and are started anew" if at_once else "are replaced one after the other"
    events.append(db, now, "service.restarted", job, f"{count} {how}")
    return job


@dataclass(frozen=True)
class _Move:
    """One instance, and where to; `free` is a number that no instance of the service has."""

    spec: ServiceSpec
    row: Row
    free: int
    cluster: str
    worker: str


class Moving:
    """One for a root."""

    def __init__(self, store: Store, links: Mapping[str, Link]) -> None:
        self._store = store
        self._links = links

    async def restart(self, name: str, *, at_once: bool = False) -> str:
        """See `restart`; durable when this returns."""
        return await self._store.run(lambda db: restart(db, name, time.time(), at_once=at_once))

    async def migrate(self, name: str, to: str) -> str:
        """Replace an instance by one on the worker `to`, "cluster/worker" or a worker's name.

        Returns the job name; durable then. Raises NotFound, UsageError; Conflict with the reasons
        where that worker would not take it now; Unreachable when its cluster does not say.
        """
        move = await self._store.run(lambda db: _move(db, name, to))
        link = self._links.get(move.cluster)
        if link is None:
            hint = f"oakctl cluster show {move.cluster}"
            raise Conflict(f"cluster {move.cluster} is not complete", hint=hint)
        full = instance_name(*move.row.key)
        if (move.row.cluster, _worker_of(link, move.row)) == (move.cluster, move.worker):
            hint = f"oakctl service restart {move.spec.name}"
            raise Conflict(f"{full} is on {move.cluster}/{move.worker} already", hint=hint)
        offer = Offer(move.spec, move.free, 0, time.time() + OFFER_TIMEOUT_S, move.worker)
        answer = await link.ask(subjects.CTL_EXPLAIN, offer, OfferAnswer, timeout_s=OFFER_TIMEOUT_S)
        if not answer.accepted:
            raise Conflict(
                f"{move.cluster}/{move.worker} would not take {full}",
                hint=f"oakctl explain {move.spec.name}",
                details=tuple(f"{v.candidate}: {'; '.join(v.reasons)}" for v in answer.verdicts)
                or (answer.reason,),
            )
        await self._store.run(lambda db: _add(db, move))
        return move.spec.job_name


def _add(db: Database, move: _Move) -> None:
    now, job, old = time.time(), move.row.job_name, move.row.number
    row = wanted.instance(db, move.row.key)
    if row is None or not row.wanted:  # while the cluster was asked
        raise Conflict(f"{instance_name(job, old)} is not wanted any more")
    replacements.put_halt(db, job, "")
    replacements.add(db, Replacement(job, old, None, move.cluster, move.worker, now))
    message = f"asked to go to {move.cluster}/{move.worker}"
    events.append(db, now, "instance.migrating", instance_name(job, old), message)


def _move(db: Database, name: str, to: str) -> _Move:
    rows = wanted.instances(db)
    known = {instance_name(*row.key): row for row in rows}
    row = known[names.instance(name, known)]
    spec = _service(db, row.job_name)
    full = instance_name(*row.key)
    if not row.wanted or row.phase is not Phase.PLACED:
        raise Conflict(
            f"{full} has no place that it could leave", hint=f"oakctl explain {spec.name}"
        )
    if any(each.old == row.number for each in replacements.all_of(db, row.job_name)):
        raise Conflict(f"{full} is being replaced already", hint=f"oakctl service show {spec.name}")
    cluster, worker = _target(db, to)
    own = {each.number for each in rows if each.job_name == row.job_name}
    free = next(number for number in range(len(own) + 1) if number not in own)
    return _Move(spec, row, free, cluster, worker)


def _worker_of(link: Link, row: Row) -> str:
    """Where its cluster says that it is."""
    places = link.state.instances if link.state is not None else ()
    found = (p.worker for p in places if (p.observed.job_name, p.observed.number) == row.key)
    return next(found, "")


def _target(db: Database, to: str) -> tuple[str, str]:
    cluster, _, worker = to.rpartition("/")
    found: Sequence[tuple[str, str]] = [
        (row.cluster, row.name)
        for row in fleet.workers(db)
        if row.name == worker and cluster in ("", row.cluster)
    ]
    if not found:
        raise NotFound(f"there is no worker {to}", hint="oakctl worker ls")
    if len(found) > 1:
        both = ", ".join(f"{each}/{name}" for each, name in found)
        raise UsageError(f"there is more than one worker {to}: {both}", hint="--to CLUSTER/WORKER")
    return found[0]


def _service(db: Database, name: str) -> ServiceSpec:
    services = {row.spec.job_name: row for row in wanted.services(db)}
    spec = services[names.service(name, services)].spec
    owner = wanted.application(db, spec.application)
    if owner is not None and owner.deleting:
        raise Conflict(f"application {owner.name} is being deleted")
    return spec
