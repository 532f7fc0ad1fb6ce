"""Carries out what delegation decides: offers and shares; once more after every change.

Belongs here: the loop, what is under way, and the memory of refusals. Does not belong here:
the decisions (`root.delegation`) and the transitions (`root.placing`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from sqlite_utils import Database

from oakctl.errors import OakError, Unreachable
from oakctl.model import subjects
from oakctl.model.messages import Offer, OfferAnswer, Verdict
from oakctl.model.service import ServiceSpec, instance_name
from oakctl.model.views import Decision
from oakctl.orchestration.root import images, placing
from oakctl.orchestration.root.artifacts import Artifacts, needed_by
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.delegation import (
    OFFER_TIMEOUT_S,
    Attempt,
    Effect,
    ForgetService,
    GiveUp,
    Gone,
    Key,
    OfferTo,
    Picture,
    RaiseShare,
    Row,
    Seat,
    SendShare,
    Wait,
    backoff,
    plan,
)
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.looking import Stored, capacity, current_share, rank, read, sight
from oakctl.orchestration.root.peering import Peering
from oakctl.orchestration.root.secret_delivery import SecretDelivery
from oakctl.orchestration.root.secrets import Secrets
from oakctl.orchestration.root.store import events, records, wanted
from oakctl.orchestration.root.store.database import Store
from oakctl.orchestration.root.upkeep import Upkeep

log = logging.getLogger("oakctl.root.delegation")

PASS_S = 1.0  # a pass at least this often: back-off, silence of clusters
TASKS = 16  # offers and shares under way together


class Driver:
    """One for a root; `links` is shared with whoever opens and closes them."""

    def __init__(
        self,
        store: Store,
        links: Mapping[str, Link],
        artifacts: Artifacts,
        secrets: Secrets,
        bell: Bell,
    ) -> None:
        self._store = store
        self._links = links
        self._artifacts = artifacts
        self._bell = bell
        self._wake = Bell()
        self._attempts: dict[Key, Attempt] = {}
        self._reasons: dict[Key, str] = {}  # of those that wait
        self._progress: dict[Key, str] = {}  # of those whose artifact is on its way
        self._busy: set[Key] = set()
        self._sending: set[Seat] = set()
        self._raised_at: dict[Seat, float] = {}
        self._upkeep = Upkeep(links)
        self._peering = Peering(links)
        self._secrets = SecretDelivery(secrets, links)
        self._fingerprints: dict[str, object] = {}
        self._capacity = 0
        self._seats: dict[Seat, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(TASKS)
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something changed: look again."""
        self._wake.ring()

    def reason(self, key: Key) -> str:
        """What is being done for this instance, or why it waits; empty when neither is known."""
        return self._progress.get(key) or self._reasons.get(key, "")

    def waits(self, key: Key) -> bool:
        """Whether nothing can be done for this instance now; `reason` says why."""
        return key in self._reasons and key not in self._progress

    async def run(self) -> None:
        """Until cancelled."""
        seen = -1
        while True:
            seen = await self._wake.wait(seen, PASS_S)
            for link in list(self._links.values()):
                link.look()
            try:
                await self.once()
            # The outermost boundary of delegation: one pass that broke must not be the last.
            except Exception:
                log.exception("delegation: a pass broke; the next one begins anew")
                await asyncio.sleep(PASS_S)

    async def close(self) -> None:
        """Break off what is under way; all of it is done again by the next root."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._peering.close(), return_exceptions=True)

    async def once(self) -> None:
        """One pass: look, decide, begin what is due."""
        # Before the rows are read: one that is enrolled meanwhile is no stray.
        listed = {(link.name, worker) for link in self._links.values() for worker in link.workers}
        stored = await self._store.run(read)
        picture = self._picture(stored)
        now = time.time()
        for effect in plan(picture, rank, now):
            await self._begin(effect, picture, now)
        specs = {job: service.spec for job, service in stored.services.items()}
        placed = [(row.cluster, row.job_name) for row in stored.rows if row.cluster]
        await self._upkeep.once(stored.clusters, placed, specs, listed - stored.workers)
        await self._secrets.once(placed, specs)
        self._peering.once(stored.clusters)
        self._forget_memory(stored)

    # --- looking ---

    def _picture(self, stored: Stored) -> Picture:
        sights = {row.name: sight(row, self._links.get(row.name)) for row in stored.clusters}
        for name, seen in sights.items():
            fingerprint = capacity(seen)
            if self._fingerprints.get(name) != fingerprint:
                self._fingerprints[name] = fingerprint
                self._capacity += 1
        return Picture(
            stored.rows,
            stored.shares,
            stored.services,
            sights,
            attempts=dict(self._attempts),
            busy=frozenset(self._busy),
            sending=frozenset(self._sending),
            raised_at=dict(self._raised_at),
            targets=stored.targets,
            capacity=self._capacity,
        )

    # --- doing ---

    async def _begin(self, effect: Effect, picture: Picture, now: float) -> None:
        if isinstance(effect, OfferTo):
            self._busy.add(effect.key)
            row = next(row for row in picture.rows if row.key == effect.key)
            self._spawn(self._offer(effect, row, picture.services[effect.key[0]].spec))
        elif isinstance(effect, SendShare):
            self._sending.add(effect.seat)
            self._spawn(self._share(effect.seat))
        elif isinstance(effect, Wait):
            await self._wait(effect, now)
        elif isinstance(effect, RaiseShare):
            self._raised_at[effect.seat] = now
            seat, above = effect.seat, effect.above
            await self._store.run(lambda db: wanted.raise_share(db, seat, above=above))
            self.wake()
        elif isinstance(effect, GiveUp):
            key, cluster = effect.key, effect.cluster
            await self._store.run(lambda db: placing.give_up_offer(db, key, cluster, now))
            self._changed()
        elif isinstance(effect, Gone):
            key = effect.key
            await self._store.run(lambda db: placing.gone(db, key, now))
            self._changed()
        elif isinstance(effect, ForgetService):
            await self._forget(picture.services[effect.job_name].spec, now)
            self._changed()

    async def _forget(self, spec: ServiceSpec, now: float) -> None:
        def forget(db: Database) -> set[str]:
            placing.forget_service(db, spec.job_name, spec.application, now)
            return images.unneeded_without(db, spec)

        await self._artifacts.forget(await self._store.run(forget))

    async def _wait(self, effect: Wait, now: float) -> None:
        key = effect.key
        attempt = self._attempts.get(key, Attempt())
        if effect.until > now:
            self._attempts[key] = Attempt(
                waiting=True,
                rounds=attempt.rounds + 1,
                retry_at=effect.until,
                capacity=self._capacity,
            )
        if self._reasons.get(key) == effect.reason:
            return
        self._reasons[key] = effect.reason
        name = instance_name(*key)
        decision = Decision(now, name, "root", "pending", effect.verdicts)

        def note(db: Database) -> None:
            records.add_decision(db, key[0], decision)
            events.append(db, now, "instance.pending", name, "waits", reason=effect.reason)

        await self._store.run(note)
        self._changed()

    async def _offer(self, effect: OfferTo, row: Row, spec: ServiceSpec) -> None:
        key, seat = effect.key, (effect.cluster, effect.key[0])
        try:
            async with self._slots:
                link = self._links[effect.cluster]
                if images.fits(spec, link.state):  # else it is refused, before anything is sent
                    await self._have_artifacts(link, spec, key)
                    await self._secrets.require(link, spec)
                async with self._seats.setdefault(seat, asyncio.Lock()):
                    await self._offer_now(link, effect, row, spec)
        except OakError as error:
            self._not_offered(effect, error.message)
        finally:
            self._busy.discard(key)
            self._changed()

    async def _offer_now(self, link: Link, effect: OfferTo, row: Row, spec: ServiceSpec) -> None:
        now, cluster = time.time(), effect.cluster
        begin = placing.renew_offer if effect.renew else placing.begin_offer
        offered = await self._store.run(lambda db: begin(db, row.key, cluster, now))
        if offered is None:
            return
        deadline = now + OFFER_TIMEOUT_S
        offer = Offer(spec, offered.number, offered.epoch, deadline, effect.worker)
        try:
            answer = await link.ask(
                subjects.CTL_OFFER, offer, OfferAnswer, timeout_s=OFFER_TIMEOUT_S
            )
        except OakError as error:
            # It may have been accepted: the row stays as it is, and the offer is sent again.
            attempt = self._attempts.get(effect.key, Attempt())
            pause = backoff(attempt.rounds + 1)
            self._attempts[effect.key] = Attempt(
                rounds=attempt.rounds + 1, retry_at=time.time() + pause
            )
            self._reasons[effect.key] = f"{error.message}; it is asked again"
            return
        await self._answered(offered, answer, effect)

    async def _answered(self, offered: Row, answer: OfferAnswer, effect: OfferTo) -> None:
        now, name = time.time(), instance_name(*offered.key)
        cluster = offered.cluster
        outcome = f"{cluster}/{answer.worker}" if answer.accepted else "refused"

        def note(db: Database) -> None:
            placing.end_offer(db, offered, answer, now)
            if effect.verdicts:
                ranked = Decision(now, name, "root", cluster, effect.verdicts)
                records.add_decision(db, offered.job_name, ranked)
            decision = Decision(now, name, cluster, outcome, answer.verdicts)
            records.add_decision(db, offered.job_name, decision)

        await self._store.run(note)
        if answer.accepted:
            self._attempts.pop(offered.key, None)
            self._reasons.pop(offered.key, None)
        else:
            self._refused(offered.key, cluster, _why(answer))

    def _not_offered(self, effect: OfferTo, why: str) -> None:
        """The offer was not even sent: this round goes on with the next cluster."""
        log.warning("%s: not offered to %s: %s", effect.key, effect.cluster, why)
        self._refused(effect.key, effect.cluster, why)

    def _refused(self, key: Key, cluster: str, why: str) -> None:
        attempt = self._attempts.get(key, Attempt())
        before = {} if attempt.waiting else dict(attempt.refused)
        self._attempts[key] = Attempt({**before, cluster: why}, rounds=attempt.rounds)

    async def _have_artifacts(self, link: Link, spec: ServiceSpec, key: Key) -> None:
        for sha256 in needed_by(spec):
            await self._have_artifact(link, sha256, key)

    async def _have_artifact(self, link: Link, sha256: str, key: Key) -> None:
        name = f"artifact {sha256[:12]}"
        quarter = 0

        def progress(done: int, size: int) -> None:
            nonlocal quarter
            self._progress[key] = f"{name} is being sent to {link.name}, {100 * done // size} %"
            if 4 * done // size > quarter:
                quarter = 4 * done // size
                message = f"{25 * quarter} % of {size} bytes are there"
                self._spawn(self._event("artifact.sent", name, message, link.name))

        try:
            await self._artifacts.send(link, sha256, progress)
        finally:
            self._progress.pop(key, None)

    async def _share(self, seat: Seat) -> None:
        cluster, job_name = seat
        try:
            async with self._slots, self._seats.setdefault(seat, asyncio.Lock()):
                share = await self._store.run(lambda db: current_share(db, seat))
                if share is None:
                    return
                link = self._links[cluster]
                if share.service is not None and share.instances:
                    await self._have_artifacts(
                        link, share.service, (job_name, min(share.instances))
                    )
                await link.order(subjects.CTL_SHARE, share)
                await link.refresh()
                link.confirmed[job_name] = share.revision
        except OakError as error:
            log.warning("share of %s: %s", job_name, error.message)
            await self._share_failed(seat, error)
            await asyncio.sleep(PASS_S)  # not again at once
        finally:
            self._sending.discard(seat)
            self.wake()

    async def _share_failed(self, seat: Seat, error: OakError) -> None:
        """A cluster that says no, to rules of its operator's for one, is heard by `explain`."""
        cluster, job_name = seat
        if isinstance(error, Unreachable):
            return
        why = error.message.removeprefix(f"cluster {cluster}: ")
        verdict = Verdict(cluster, False, 0.0, (why,))
        decision = Decision(time.time(), job_name, cluster, "refused", (verdict,))
        if await self._store.run(lambda db: records.add_decision(db, job_name, decision)):
            message = f"{cluster} keeps what it has: {why}"
            await self._event("share.refused", job_name, message, cluster)

    async def _event(self, kind: str, subject: str, message: str, cluster: str) -> None:
        now = time.time()
        await self._store.run(
            lambda db: events.append(db, now, kind, subject, message, cluster=cluster)
        )
        self._bell.ring()

    def _forget_memory(self, stored: Stored) -> None:
        known = {row.key for row in stored.rows}
        for key in [key for key in self._attempts if key not in known]:
            del self._attempts[key]
        for key in [key for key in self._reasons if key not in known]:
            del self._reasons[key]

    def _changed(self) -> None:
        self._bell.ring()
        self.wake()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delegation: a task broke", exc_info=error)


def _why(answer: OfferAnswer) -> str:
    parts = [f"{v.candidate}: {'; '.join(v.reasons)}" for v in answer.verdicts if v.reasons]
    return answer.reason or ", ".join(parts) or "it refused without a reason"
