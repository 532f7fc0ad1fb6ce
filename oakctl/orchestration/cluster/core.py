"""The one place where the cluster's state changes: decide, make durable, adopt, announce.

Belongs here: the order of these four, one change at a time, and what is known besides the durable
state. Does not belong here: any decision (the pure modules), or messages (`root_desk`,
`worker_desk`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.model import subjects, wire
from oakctl.model.config import Timers
from oakctl.model.documents import Heartbeat
from oakctl.model.instance import InstanceStatistics, ObservedInstance
from oakctl.model.resources import Resources
from oakctl.orchestration.cluster import changes, clock, liveness, revisions, spare, store, sweep
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.outbox import Outbox
from oakctl.orchestration.cluster.placement import Fleet
from oakctl.orchestration.cluster.revisions import Documents
from oakctl.orchestration.cluster.state import Key, State
from oakctl.orchestration.cluster.store import Store, Write

T = TypeVar("T")
log = logging.getLogger("oakctl.cluster.core")

Decision = Callable[[State, Fleet, Now], tuple[State, T]]

REMEMBERED_S = 600.0  # that a registry has no image for a platform
REMINDER_S = 1.0  # between pushes to a worker that has not taken its document


class Core:
    """State, presences and documents of a running orchestrator.

    `changed` is called after each change that somebody may want to see.
    """

    def __init__(
        self,
        client: Client,
        stored: Store,
        state: State,
        outbox: Outbox,
        timers: Timers,
        changed: Callable[[], None],
    ) -> None:
        now = clock.read()
        self.state = state
        self.presences = liveness.at_start(state, now)
        self.documents: Documents = revisions.at_start(state, now)
        self.outbox = outbox
        self._leftovers: dict[str, Resources] = {}
        self._holds: dict[str, int] = {}
        self._unfit: dict[tuple[str, str], float] = {}  # job name, platform → when it was found
        self.statistics: dict[Key, tuple[float, InstanceStatistics]] = {}  # heard at, monotonic
        self._cpu_percent: dict[Key, float] = {}  # of one core, as instances' workers say
        self._loads: dict[Key, float] = {}
        self._spares: dict[Key, int] = {}
        self._sought: frozenset[str] = frozenset()
        self._watches: dict[tuple[str, int], sweep.Watch] = {}
        self._told = dict(self.presences)  # the statuses that events were made of
        self._reminded: dict[str, float] = {}
        self._client = client
        self._store = stored
        self._timers = timers
        self._changed = changed
        self._lock = asyncio.Lock()

    @property
    def fleet(self) -> Fleet:
        """What is known of the workers right now besides their records."""
        since = clock.read().mono - REMEMBERED_S
        unfit = frozenset(key for key, at in self._unfit.items() if at >= since)
        return Fleet(self.presences, self._leftovers, self._holds, unfit)

    async def start(self, before: State) -> None:
        """Give every document a number and make what differs from `before`, as stored, durable."""
        async with self._lock:
            await self._commit(before, self.state, (), clock.read())

    async def change(self, decide: Decision[T]) -> T:
        """Carry out a decision: what it returns is the answer, and durable by now."""
        async with self._lock:
            now = clock.read()
            after, answer = decide(self.state, self.fleet, now)
            await self._commit(self.state, after, (), now)
            return answer

    async def sweep(self) -> None:
        """What time alone brings about."""
        async with self._lock:
            now = clock.read()
            self.presences = liveness.judge(self.presences, self._timers, now)
            moved = changes.of_presences(self.state, self._told, self.presences)
            self._told = dict(self.presences)
            after, self._watches = sweep.sweep(
                self.state, self.fleet, self._watches, self._timers, now
            )
            await self._commit(self.state, after, moved, now)

    async def weigh(self) -> None:
        """Go by what instances have to spare now."""
        async with self._lock:
            self._loads = spare.loads(self.state, self.presences, self._cpu_percent, self._loads)
            self._cpu_percent = {k: v for k, v in self._cpu_percent.items() if k in self._loads}
            found = spare.shares(self._loads, self._spares)
            if found != self._spares:
                self._spares = found
                await self._commit(self.state, self.state, (), clock.read(), weighed=True)

    async def seek(self, addresses: frozenset[str]) -> None:
        """Ask other clusters for the services of these addresses, which nobody here has."""
        if addresses == self._sought:
            return
        async with self._lock:
            self._sought = addresses
            await self._commit(self.state, self.state, (), clock.read(), weighed=True)

    async def reconcile(self) -> None:
        """Make the buckets hold what is known here: after a bus was away it may have lost some.

        Raises NatsError or TimeoutError when the bus is not ready yet.
        """
        async with self._lock:
            await self._store.open()
            stored = await self._store.read()
            known = {k: wire.encode(record) for k, record in store.records(self.state).items()}
            known.update(self.outbox.records())
            writes = [Write(b, k, v) for (b, k), v in known.items() if stored[b].get(k) != v]
            strays = [Write(b, k, None) for b in stored for k in stored[b] if (b, k) not in known]
            if writes or strays:
                log.warning("the bus had lost %d records and kept %d", len(writes), len(strays))
            await self._store.write((*writes, *strays))
            await self._announce(Documents(0))

    # --- what is heard of workers: never durable, so never waiting for anything ---

    def heard(self, beat: Heartbeat) -> bool:
        """Take note of a heartbeat; True when the worker should be sent its documents again."""
        if beat.worker not in self.state.workers:
            return False
        now, before = clock.read(), self.presences.get(beat.worker)
        desired = self.documents.desired_revision(beat.worker)
        after = liveness.hear(before, beat, desired, now)
        if after is None:
            return False
        self.presences = {**self.presences, beat.worker: after}
        if before is None or before.status != after.status:
            self._changed()
        tables = self.documents.tables.get(beat.worker)
        behind = beat.desired_revision < desired or (
            tables is not None and beat.tables_revision < tables.revision
        )
        if not behind or now.mono - self._reminded.get(beat.worker, 0.0) < REMINDER_S:
            return False
        self._reminded[beat.worker] = now.mono
        return True

    def greeted(self, worker: str, agent_id: str) -> None:
        """Take note of a greeting that was accepted."""
        known = self.presences.get(worker)
        self.presences = {
            **self.presences,
            worker: liveness.greeted(known, agent_id, clock.read()),
        }
        self._changed()

    def disconnected(self, worker: str) -> None:
        """The bus says that the worker's connection ended."""
        known = self.presences.get(worker)
        if known is not None:
            self.presences = {**self.presences, worker: liveness.disconnected(known)}
            self._changed()

    def excuse(self) -> None:
        """Nobody could be heard until now: that silence does not count."""
        self.presences = liveness.excuse(self.presences, clock.read())

    def holds(self, worker: str, count: int, left_over: Resources) -> None:
        """How many instances a worker has, and what those of them use that it is not to run."""
        changed = self._holds.get(worker) != count
        self._holds = {**self._holds, worker: count}
        self._leftovers = {**self._leftovers, worker: left_over}
        if changed:
            self._changed()

    def note_unfit(self, instances: Iterable[ObservedInstance]) -> None:
        """Take note of platforms for which workers found no image; a registry may get one, so
        that is forgotten after a while."""
        now = clock.read().mono
        known = {key: at for key, at in self._unfit.items() if now - at < REMEMBERED_S}
        self._unfit = known | {(one.job_name, one.unfit): now for one in instances if one.unfit}

    def used(self, instances: Iterable[InstanceStatistics]) -> None:
        """Take note of what instances use."""
        now = clock.read().mono
        for one in instances:
            self._cpu_percent[one.job_name, one.number] = one.cpu_percent
            self.statistics[one.job_name, one.number] = (now, one)

    def forget(self, worker: str) -> None:
        """Nothing is known of a removed worker."""
        self.presences = {n: p for n, p in self.presences.items() if n != worker}
        self._leftovers = {n: r for n, r in self._leftovers.items() if n != worker}
        self._holds = {n: count for n, count in self._holds.items() if n != worker}
        self._reminded.pop(worker, None)

    async def push(self, worker: str) -> None:
        """Send a worker the documents in force."""
        for what, documents in (
            (subjects.CMD_DESIRED, self.documents.desired),
            (subjects.CMD_TABLES, self.documents.tables),
        ):
            if worker in documents:
                await self._publish(worker, what, documents)

    async def _commit(
        self,
        before: State,
        after: State,
        extra: Sequence[changes.Change],
        now: Now,
        weighed: bool = False,
    ) -> None:
        fresh = not self.documents.desired and not self.documents.own
        if after is before and not extra and not fresh and not weighed:
            return
        after, documents = revisions.settle(after, self.documents, self._spares, self._sought)
        happened = (*extra, *changes.between(before, after))
        await self._store.write((*self.outbox.add(happened, now), *store.difference(before, after)))
        announced, self.documents, self.state = self.documents, documents, after
        for change in happened:
            log.info("%s %s: %s%s", change.kind, change.subject, change.message,
                     f" ({change.reason})" if change.reason else "")  # fmt: skip
        self._changed()
        await self._announce(announced)

    async def _announce(self, before: Documents) -> None:
        """Push what changed. A push that is lost is made good by the heartbeat that shows it."""
        for what, old, new in (
            (subjects.CMD_DESIRED, before.desired, self.documents.desired),
            (subjects.CMD_TABLES, before.tables, self.documents.tables),
        ):
            for worker in new:
                if old.get(worker) is not new[worker]:
                    self._reminded[worker] = clock.read().mono
                    await self._publish(worker, what, new)

    async def _publish(self, worker: str, what: str, documents: Mapping[str, object]) -> None:
        try:
            body = wire.encode(documents[worker])
            await self._client.publish(subjects.command(worker, what), body)
        except NatsError as error:
            log.info("%s of %s is not pushed now: %r", what, worker, error)
