"""The root's questions about the overlay: what is there, one way followed, tries from inside.

Clusters are asked when somebody wants to know; the last that each said is kept in memory, and
shown with its age when it does not answer. Does not belong here: what follows from answers (the
pure modules `overlay_*`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from oakctl.errors import OakError
from oakctl.model import subjects
from oakctl.model.overlay_asking import OverlayAnswer, OverlayQuestion
from oakctl.model.overlay_views import (
    OverlayView,
    RouteView,
    TestedView,
    TraceView,
    TriesView,
    Trouble,
)
from oakctl.model.views import ServiceView, WorkerView
from oakctl.orchestration.root import (
    overlay_known,
    overlay_route,
    overlay_status,
    overlay_tests,
    overlay_trace,
)
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.overlay_known import Fleet, Known

ASK_S = 4.0
LOOK_S = 9.0  # longer than a cluster waits for its agents
PROBE_S = 22.0
FOREIGN = "it is another operator's: he alone is told of its overlay"


class Overlay:
    """Everything below `/v1/overlay`."""

    def __init__(
        self,
        links: Mapping[str, Link],
        service: Callable[[str], Awaitable[ServiceView]],
        workers: Callable[[], Awaitable[Sequence[WorkerView]]],
    ) -> None:
        self._links = links
        self._service = service
        self._workers = workers
        self._kept: dict[str, tuple[float, OverlayAnswer]] = {}

    async def view(self) -> OverlayView:
        """The whole; a cluster that does not answer is shown as it was heard last."""
        fleet = await self._ask({})
        return overlay_status.view(fleet, await self._hosts(), time.time())

    async def trace(self, service: str, node: str) -> TraceView:
        """A service from a node's point of view; raises NotFound, UsageError."""
        job = (await self._service(service)).job_name
        fleet = await self._ask_nodes((node,))
        known, found = fleet.find(node)
        machine = (await self._hosts()).get((known.cluster, found.worker), "")
        return overlay_trace.trace(fleet, job, node, machine)

    async def route(self, a: str, b: str) -> RouteView:
        """The way between two nodes; raises NotFound, UsageError."""
        fleet = await self._ask({})
        return overlay_route.route(fleet, a, b, await self._hosts(), time.time())

    async def test(self, nodes: Sequence[str]) -> TestedView:
        """Tries from inside these nodes, from all where none is named; raises as `route`."""
        fleet = await self._ask({})
        chosen = [fleet.find(name) for name in nodes] if nodes else list(fleet.nodes())
        wanted: dict[str, list[str]] = {}
        for known, node in chosen:
            wanted.setdefault(known.cluster, []).append(node.worker)
        tried = await self._ask(wanted, probe=True)
        tests = tuple(_tries(tried, known, node.worker) for known, node in chosen)
        unasked = (
            Trouble(name, f"not tried from there: {known.fault}", f"oakctl cluster show {name}")
            for name, known in sorted(fleet.clusters.items())
            if known.fault and not nodes
        )
        return TestedView(time.time(), tests, (*unasked, *overlay_tests.troubles(tests)))

    async def _ask_nodes(self, names: Iterable[str]) -> Fleet:
        """Of all clusters, and of these nodes what they say themselves."""
        fleet = await self._ask({})
        wanted: dict[str, list[str]] = {}
        for name in names:
            known, node = fleet.find(name)
            wanted.setdefault(known.cluster, []).append(node.worker)
        asked = await self._ask(wanted)
        return Fleet({**fleet.clusters, **asked.clusters})

    async def _ask(self, workers: Mapping[str, Sequence[str]], *, probe: bool = False) -> Fleet:
        """Ask every cluster, or only those of `workers` where any are named."""
        names = [name for name in self._links if not workers or name in workers]
        found = await asyncio.gather(
            *(self._one(name, tuple(workers.get(name, ())), probe) for name in names)
        )
        return Fleet({known.cluster: known for known in found})

    async def _one(self, name: str, workers: tuple[str, ...], probe: bool) -> Known:
        link = self._links[name]
        fault = FOREIGN if link.account else ""
        if not fault:
            wait_s = PROBE_S if probe else LOOK_S if workers else ASK_S
            question = OverlayQuestion(workers, probe)
            try:
                answer = await link.ask(
                    subjects.CTL_OVERLAY, question, OverlayAnswer, timeout_s=wait_s
                )
            except OakError as error:
                fault = error.message
            else:
                heard_at = time.time()
                # What agents said was said to that one question.
                self._kept[name] = heard_at, replace(answer, sights=(), silent={})
                return Known(name, heard_at, answer)
        if name in self._kept:
            return Known(name, *self._kept[name], fault)
        if link.state is not None and not link.account:
            return Known(name, link.last_seen, overlay_known.from_state(link.state), fault)
        return Known(name, 0.0, None, fault)

    async def _hosts(self) -> Mapping[tuple[str, str], str]:
        return {(view.cluster, view.name): view.host for view in await self._workers()}


def _tries(fleet: Fleet, asked: Known, worker: str) -> TriesView:
    known = fleet.clusters.get(asked.cluster, asked)
    name = f"{known.cluster}/{worker}"
    sight = known.sight(worker)
    if known.fault or sight is None:
        return TriesView(name, (), known.silence(worker))
    return TriesView(name, sight.probes, sight.refusal, sight.driver, sight.untried)
