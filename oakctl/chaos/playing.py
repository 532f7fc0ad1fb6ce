"""Playing a scenario: its faults in time, with events and requests recorded, and the report.

Belongs here: waiting, recording, the order. Does not belong here: how a fault is made
(`carrying_out`), what the record means (`timeline`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from oakctl.chaos import targets, timeline
from oakctl.chaos.carrying_out import Chaos, Plan
from oakctl.chaos.probing import Probing, probing
from oakctl.chaos.scenario import Scenario, Step
from oakctl.chaos.timeline import Outcome, Request, Struck
from oakctl.client.root import RootClient
from oakctl.errors import DeadlineExceeded, NotFound, OakError
from oakctl.model.events import Event
from oakctl.model.views import ApplicationView

AHEAD_S = 5.0  # a host is looked over so long before its fault
NOTICED_S = 6.0  # so long after the last fault all that follows at once has been noticed
POLL_S = 0.5
READY_S = 60.0  # to begin with
LAST_EVENTS_S = 1.0

Told = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What came of a scenario. Times are seconds since the epoch."""

    name: str
    application: str
    began_at: float
    ended_at: float
    ok: bool
    ready: bool  # in the end, all that is wanted ran
    faults: tuple[Outcome, ...]
    requests: int
    failed: int
    timeline: tuple[Event, ...]


class Player:
    """Plays one scenario with `chaos`; `told` hears a line for each thing that happens."""

    def __init__(self, client: RootClient, chaos: Chaos, scenario: Scenario, told: Told) -> None:
        self._client = client
        self._chaos = chaos
        self._scenario = scenario
        self._told = told
        self._events: list[Event] = []

    async def plans(self) -> list[Plan]:
        """Look all targets up and their hosts over before anything is broken; raises OakError."""
        return [await self._chaos.plan(step.fault) for step in self._scenario.steps]

    async def play(self) -> Report:
        """Play it to its end. A fault that cannot be made is told in the report.

        Raises DeadlineExceeded when the application is not ready to begin with.
        """
        await self._begin_ready()
        first = max([event.id async for event in self._client.events(-1)], default=0)
        following = asyncio.create_task(self._follow(first), name="chaos events")
        began = time.time()
        try:
            async with probing(self._scenario.probe) as probe:
                struck = [await self._strike(step, began) for step in self._scenario.steps]
                ready = await self._settle(struck)
                await asyncio.sleep(LAST_EVENTS_S)
        finally:
            following.cancel()
            await asyncio.wait([following])
        return self._report(began, struck, probe, ready)

    async def _strike(self, step: Step, began: float) -> Struck:
        await _until(began + step.at_s - AHEAD_S)
        fault = step.fault
        try:
            plan = await self._chaos.plan(fault)
            await _until(began + step.at_s)
            fleet = await self._chaos.fleet()  # what is there in the moment of the fault
            aim = targets.aim(fleet, plan.fault)
            made = await self._chaos.inflict(plan)
        except OakError as error:
            self._told(f"{fault.title}: not made: {error.message}")
            return Struck(fault.title, fault.kind.value, time.time(), 0.0, error=error.message)
        self._told(f"{made.fault.title}: done on {' and '.join(made.hosts)}")
        hosts = {aim.host.name, aim.other.name if aim.other else aim.host.name}
        clusters = {view.cluster for view in fleet.workers if view.host in hosts}
        clusters |= {view.name for view in fleet.clusters if view.host in hosts}
        until = made.at + fault.for_s if fault.for_s else 0.0
        subjects, own = aim.subjects, tuple(sorted(clusters))
        return Struck(fault.title, fault.kind.value, made.at, until, subjects, own)

    async def _follow(self, after: int) -> None:
        """The timeline as it comes; a root that is away for a while is asked again."""
        while True:
            try:
                async with aclosing(self._client.events(after, follow=True)) as events:
                    async for event in events:
                        after = event.id
                        self._events.append(event)
            except OakError:
                await asyncio.sleep(POLL_S)

    async def _begin_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while waiting := [one for one in await self._applications() if one.state != "ready"]:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{waiting[0].name} is {waiting[0].state} and not ready, so nothing was broken",
                    hint=f"oakctl app show {waiting[0].name}",
                )
            await asyncio.sleep(POLL_S)

    async def _settle(self, struck: Sequence[Struck]) -> bool:
        """Wait until all is ready again; whether it is, within the scenario's time for that."""
        last = max(max(one.at + NOTICED_S, one.until) for one in struck)
        await _until(last)
        deadline = time.monotonic() + self._scenario.settle_s
        while True:
            try:
                if all(one.state == "ready" for one in await self._applications()):
                    return True
            except NotFound:
                raise
            except OakError:
                pass  # the root is busy, or away for a moment
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)

    async def _applications(self) -> list[ApplicationView]:
        wanted = self._scenario.application
        if wanted:
            return [await self._client.application(wanted)]
        return list(await self._client.applications())

    def _report(
        self, began: float, struck: Sequence[Struck], probe: Probing | None, ready: bool
    ) -> Report:
        requests = None if probe is None else sorted(probe.requests, key=lambda one: one.at)
        found = outcomes(self._scenario.steps, struck, self._events, requests)
        asked: Sequence[Request] = requests or ()
        return Report(
            self._scenario.name,
            self._scenario.application,
            began,
            time.time(),
            ready and not any(one.error or one.broken for one in found),
            ready,
            found,
            len(asked),
            sum(not one.ok for one in asked),
            tuple(self._events),
        )


def outcomes(
    steps: Sequence[Step],
    struck: Sequence[Struck],
    events: Sequence[Event],
    requests: Sequence[Request] | None,
) -> tuple[Outcome, ...]:
    """What came of each fault, judged by what was expected of it."""
    found = []
    for step, one in zip(steps, struck, strict=True):
        later = [other.at for other in struck if other.at > one.at and not other.error]
        limit = min(later, default=float("inf"))
        result = timeline.outcome(one, events, requests, limit)
        expected = step.expect.model_dump(exclude_none=True)
        words = () if one.error else timeline.broken(result, **expected)
        found.append(replace(result, broken=words))
    return tuple(found)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.time()))
