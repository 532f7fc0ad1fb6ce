"""Looks at what instances measure, and keeps what the root is to be told of their number.

Belongs here: whose measures count now, and the memory between two decisions. Does not belong here:
the decision (`autoscale`). A new orchestrator remembers nothing: it begins to measure anew, and
the number stays as it is until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from oakctl.model.instance import InstanceState
from oakctl.model.messages import ScaleWish
from oakctl.orchestration.cluster import autoscale, clock
from oakctl.orchestration.cluster.autoscale import Measured, Memory
from oakctl.orchestration.cluster.clock import Now
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.state import InstanceRecord

INTERVAL_S = 1.0
TOLD_S = 10.0  # that a wish is repeated; with the root away it lapses, and is found again


class Autoscaler:
    """What this cluster wishes of its services' numbers; `changed` is called when that does."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._memories: dict[str, Memory] = {}
        self._wishes: dict[str, tuple[float, ScaleWish]] = {}

    @property
    def wishes(self) -> tuple[ScaleWish, ...]:
        """Those in force."""
        return tuple(wish for _, wish in self._wishes.values())

    async def run(self, core: Core) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self.look(core, clock.read()):
                self._changed()

    def look(self, core: Core, now: Now) -> bool:
        """Decide once for every service; True when there is a new wish."""
        core.statistics = {k: v for k, v in core.statistics.items() if k in core.state.instances}
        self._wishes = {k: v for k, v in self._wishes.items() if now.mono - v[0] < TOLD_S}
        before, memories = self.wishes, {}
        for job_name, service in core.state.services.items():
            spec = service.spec
            if spec is None or spec.autoscale is None or service.gone_at:
                continue
            records = [record for record in core.state.of(job_name) if not record.stopping]
            measured = [self._measured(core, record, now) for record in records]
            memory = self._memories.get(job_name, Memory())
            # What the service has in other clusters is not known here: the root keeps its minimum.
            rules = replace(spec.autoscale, minimum=1)
            found = autoscale.decide(rules, measured, memory, now.mono)
            memories[job_name] = found.memory
            have = len(records)
            _, known = self._wishes.get(job_name, (0.0, None))
            if found.wanted == have:
                self._wishes.pop(job_name, None)
            elif known is None or (known.have, known.wanted) != (have, found.wanted):
                wish = ScaleWish(job_name, have, found.wanted, now.wall, found.reason)
                self._wishes[job_name] = (now.mono, wish)
        self._memories = memories
        return self.wishes != before

    def _measured(self, core: Core, record: InstanceRecord, now: Now) -> Measured:
        shown = record.shown()
        settled = shown.ready and shown.state is InstanceState.RUNNING
        at, told = core.statistics.get(record.key, (0.0, None))
        spec = core.state.spec(record.job_name)
        if told is None or spec is None or not settled or now.mono - at > autoscale.FRESH_S:
            return Measured({}, settled)
        return Measured(autoscale.values_of(spec, told.cpu_percent, told.metrics), settled)
