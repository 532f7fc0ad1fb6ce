"""Carrying a plan out through `/v1`: in order where it matters, side by side where it does not.

Belongs here: the order, limits, and going on after a failure. The root does the work and keeps
the journal; a call that dies here leaves nothing half known. Does not belong here: what to do
(`fleet.planner`), what is printed (`cli`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from oakctl.client.root import RootClient
from oakctl.errors import Conflict, OakError, error_for
from oakctl.fleet.plan import FORGET, REMOVE, REPLACE, UPGRADE, Change, Plan
from oakctl.fleet.state import Wanted, worker_name
from oakctl.model.views import HostView, OperationView, StepEvent

OPERATION_TIMEOUT_S = 900.0  # of one operation; a slow uplink takes minutes for an archive


class Observer(Protocol):
    """Who is told how it goes."""

    def begun(self, change: Change) -> None:
        """Work on a change begins."""

    def step(self, change: Change, step: StepEvent) -> None:
        """A step of it began or ended."""

    def ended(self, change: Change, error: OakError | None) -> None:
        """It is done, or failed; also told of one that was not begun, for a reason."""


@dataclass(frozen=True)
class Failure:
    """A change that was not made."""

    change: Change
    error: OakError


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    done: tuple[Change, ...] = ()
    failed: tuple[Failure, ...] = ()

    @property
    def exit_code(self) -> int:
        """That of the first failure, 0 without one."""
        return int(self.failed[0].error.exit_code) if self.failed else 0


class Applier:
    """Makes the changes of a plan; a failed one does not stop the others."""

    def __init__(
        self,
        root: RootClient,
        wanted: Wanted,
        observer: Observer,
        *,
        limit: int,
        force: bool = False,
    ) -> None:
        self._root = root
        self._hosts = {host.name: host for host in wanted.hosts}
        self._clusters = {each.name: each for each in wanted.clusters}
        self._workers = {worker_name(each): each for each in wanted.workers}
        self._observer = observer
        self._gate = asyncio.Semaphore(limit)
        self._force = force
        self._done: list[Change] = []
        self._failed: list[Failure] = []

    async def run(self, plan: Plan) -> Outcome:
        """Make every change that can be made.

        What is removed goes first, so that its host is free: workers, then clusters. Then comes
        what is made: hosts, clusters, workers, and newer releases last, one worker of a cluster
        at a time. Only orchestrators get theirs before any worker is touched: whoever is made or
        changed gets the new release with that, and what is newer never speaks to an older
        orchestrator. Hosts are forgotten last.
        """
        removals = [each for each in plan.changes if each.action in (REMOVE, REPLACE)]
        made = [each for each in plan.changes if each.action not in (REMOVE, FORGET, UPGRADE)]
        newer = [each for each in plan.changes if each.action == UPGRADE]
        forgotten = [each for each in plan.changes if each.action == FORGET]
        await self._stage(_of("host", made), self._register)
        await self._stage(_of("worker", removals), self._remove_worker)
        await self._stage(_of("cluster", removals), self._remove_cluster)
        await self._stage(_of("cluster", made), self._put_cluster)
        await self._stage(_of("cluster", newer), self._upgrade)
        await self._stage(_of("worker", made), self._put_worker)
        await self._roll(_of("worker", newer))
        await self._stage(forgotten, self._forget)
        return Outcome(tuple(self._done), tuple(self._failed))

    async def _stage(
        self, changes: Sequence[Change], make: Callable[[Change], Awaitable[None]]
    ) -> None:
        # One that failed in an earlier stage (a host not registered, a removal) ends there.
        failed = {failure.change.key for failure in self._failed}
        await asyncio.gather(*(self._one(c, make) for c in changes if c.key not in failed))

    async def _roll(self, changes: Sequence[Change]) -> None:
        """Newer releases: in each cluster, whose orchestrator has it, one worker after the other.

        A release that does not run is found before all have it: the first that fails stops the
        rolling in its cluster.
        """
        clusters: dict[str, list[Change]] = {}
        for change in sorted(changes, key=lambda each: each.name):
            clusters.setdefault(change.name.partition("/")[0], []).append(change)

        async def roll(line: Sequence[Change]) -> None:
            for change in line:
                await self._one(change, self._upgrade)

        await asyncio.gather(*(roll(line) for line in clusters.values()))

    async def _one(self, change: Change, make: Callable[[Change], Awaitable[None]]) -> None:
        error: OakError | None = None
        try:
            self._check(change)
            async with self._gate:
                self._observer.begun(change)
                await make(change)
        except OakError as caught:
            error = caught
            self._failed.append(Failure(change, caught))
        taken_away = change.action == REPLACE and make in (
            self._remove_worker,
            self._remove_cluster,
        )
        if taken_away and error is None:
            return  # half of it
        if error is None:
            self._done.append(change)
        self._observer.ended(change, error)

    def _check(self, change: Change) -> None:
        """Raises what is known beforehand to be in the way."""
        if change.blocked and not (change.action == REMOVE and self._force):
            raise error_for(change.exit_code, change.blocked, change.hint, ())
        if change.action == UPGRADE:
            self._check_rolling(change)
        for needed in self._needs(change):
            for failure in self._failed:
                if failure.change.key == needed:
                    raise Conflict(
                        f"{needed[0]} {needed[1]} failed",
                        hint="run it again when that is mended: it carries on",
                    )

    def _check_rolling(self, change: Change) -> None:
        cluster = change.name.partition("/")[0]
        for failure in self._failed:
            other = failure.change
            if other.action == UPGRADE and other.name.partition("/")[0] == cluster:
                raise Conflict(
                    f"not begun: the upgrade of {other.kind} {other.name} failed",
                    hint="run it again when that is mended: it carries on",
                )

    def _needs(self, change: Change) -> list[tuple[str, str]]:
        """What has to have succeeded, where it was tried at all."""
        if change.action in (REMOVE, FORGET):
            return []
        needed = [("host", change.host)] if change.kind != "host" else []
        if change.kind == "worker":
            needed.append(("cluster", change.name.partition("/")[0]))
        return needed

    # --- the changes ---

    async def _register(self, change: Change) -> None:
        host = self._hosts[change.name]
        known = {each.name: each for each in await self._root.hosts()}.get(host.name)
        await self._root.put_host(_kept_lab(host, known))

    async def _forget(self, change: Change) -> None:
        await self._root.forget_host(change.name)

    async def _put_cluster(self, change: Change) -> None:
        await self._follow(change, await self._root.put_cluster(self._clusters[change.name]))

    async def _put_worker(self, change: Change) -> None:
        await self._follow(change, await self._root.put_worker(self._workers[change.name]))

    async def _upgrade(self, change: Change) -> None:
        """The newer release, with the way back from it, and what differs when that is ready."""
        if change.kind == "cluster":
            await self._follow(change, await self._root.upgrade_cluster(change.name))
            if change.differences:
                await self._put_cluster(change)
            return
        cluster, _, name = change.name.partition("/")
        await self._follow(change, await self._root.upgrade_worker(cluster, name))
        # An upgrade restarts no host: what a restart was agreed to for is done by the change.
        if change.differences or self._workers[change.name].allow_reboot:
            await self._put_worker(change)

    async def _remove_cluster(self, change: Change) -> None:
        begun = await self._root.remove_cluster(change.name, force=self._force, clean=self._force)
        await self._follow(change, begun)

    async def _remove_worker(self, change: Change) -> None:
        cluster, _, name = change.name.partition("/")
        begun = await self._root.remove_worker(cluster, name, force=self._force, clean=self._force)
        await self._follow(change, begun)

    async def _follow(self, change: Change, begun: OperationView) -> None:
        tell = partial(self._observer.step, change)
        await self._root.wait_operation(begun.id, OPERATION_TIMEOUT_S, tell)


def _of(kind: str, changes: Sequence[Change]) -> list[Change]:
    return [each for each in changes if each.kind == kind]


def _kept_lab(host: HostView, known: HostView | None) -> HostView:
    """A host of a lab stays one: a file does not say which lab made it."""
    if known is None or known.place != host.place:
        return host
    return replace(host, lab=known.lab)
