"""Where nodes may be tried directly, from what they and their relay tell.

It is in memory alone: the state that it is part of begins without, and has it again within seconds.
Belongs here: which reports say what of whom, and when the state learns of it. Does not belong
here: which endpoint is tried when (`oakctl.overlay.kernel`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from oakctl.model import tunnel_endpoint
from oakctl.model.overlay import LAN, SEEN, Candidate, OverlayNode
from oakctl.model.overlay_report import OverlayReport
from oakctl.orchestration.cluster import overlay_nodes
from oakctl.orchestration.cluster.core import Core, Decision
from oakctl.orchestration.cluster.overlay_reports import OverlayReports

GATHER_S = 1.0  # each change is a document for every worker
MOST_OF_OWN = 4  # addresses that a node may name itself


def found(
    nodes: Iterable[OverlayNode], reports: Mapping[str, OverlayReport]
) -> dict[str, tuple[Candidate, ...]]:
    """The candidates of each worker that has any.

    Only the relay says where it sees others: what other nodes see of one behind a router may be a
    port that is open for them alone.
    """
    known = list(nodes)
    candidates: dict[str, list[Candidate]] = {}
    for node in known:
        report = reports.get(node.worker)
        for endpoint in report.listens[:MOST_OF_OWN] if report is not None else ():
            candidates.setdefault(node.worker, []).append(Candidate(LAN, endpoint))
    there = {(node.cluster, node.worker) for node in known}
    for relay in (node.worker for node in known if node.relay and node.worker in reports):
        for seen in reports[relay].seen:
            if (seen.cluster, seen.worker) in there:
                candidates.setdefault(seen.worker, []).append(Candidate(SEEN, seen.endpoint))
    sound = {
        worker: tuple(each for each in told if _is_endpoint(each.endpoint))
        for worker, told in candidates.items()
    }
    return {worker: told for worker, told in sound.items() if told}


def _is_endpoint(text: str) -> bool:
    """What workers say goes to all others, so no more of it than what is of use there."""
    try:
        address, _ = tunnel_endpoint.read(text)
    except ValueError:
        return False
    return bool(address)


class OverlayCandidates:
    """Keeps the candidates in the state as the reports have them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._news = asyncio.Event()
        self.reports = OverlayReports(lambda: core.state.workers, self._news.set)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            state = self._core.state
            reports = {each.worker: each for each in self.reports.all()}
            now = found(overlay_nodes.nodes(state), reports)
            if now != state.candidates:
                await self._core.change(_with(now))
            await asyncio.sleep(GATHER_S)


def _with(candidates: Mapping[str, tuple[Candidate, ...]]) -> Decision[None]:
    return lambda state, _, __: (replace(state, candidates=candidates), None)
