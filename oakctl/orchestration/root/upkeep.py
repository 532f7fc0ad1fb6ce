"""What clusters are told until they know it: settings, foreign tables, workers that are gone.

Belongs here: what has arrived where, by orchestrator session. Does not belong here: which
tables are due (`root.tables`), instances and shares (`root.driver`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from oakctl.errors import OakError
from oakctl.model import subjects
from oakctl.model.documents import ServiceTable
from oakctl.model.messages import Settings, WorkerChange
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root import tables
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store.fleet import ClusterRow

log = logging.getLogger("oakctl.root.upkeep")


class Upkeep:
    """One for a root."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._links = links
        self._sessions: dict[str, str] = {}
        self._policies: dict[str, str] = {}
        self._tables: dict[tables.Route, int] = {}

    async def once(
        self,
        clusters: Sequence[ClusterRow],
        placed: Iterable[tuple[str, str]],
        specs: Mapping[str, ServiceSpec],
        strays: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Tell each reachable cluster what it does not know yet.

        `strays` are (cluster, worker) that were forgotten here while the cluster was away.
        """
        reachable = {n: link for n, link in self._links.items() if link.reachable and link.state}
        for name, link in reachable.items():
            self._begin_session(name, link.state.session if link.state else "")
        asks = [
            self._settings(reachable[row.name], row.policy)
            for row in clusters
            if row.name in reachable
            and not reachable[row.name].account
            and self._policies.get(row.name) != row.policy
        ]
        every = [t for link in self._links.values() if link.state for t in link.state.tables]
        peers = {name: _peers(link) for name, link in self._links.items()}
        due = tables.due(every, tables.interested(placed, specs), self._tables, peers)
        asks += [
            self._table(reachable[route[0]], route, table)
            for route, table in due.items()
            if route[0] in reachable
        ]
        asks += [self._dismiss(reachable[c], worker) for c, worker in strays if c in reachable]
        await asyncio.gather(*asks)

    def _begin_session(self, cluster: str, session: str) -> None:
        if self._sessions.get(cluster) == session:
            return
        self._sessions[cluster] = session
        self._policies.pop(cluster, None)
        for route in [route for route in self._tables if route[0] == cluster]:
            del self._tables[route]

    async def _settings(self, link: Link, policy: str) -> None:
        try:
            await link.order(subjects.CTL_SETTINGS, Settings(policy))
            self._policies[link.name] = policy
        except OakError as error:
            log.warning("settings: %s", error.message)

    async def _dismiss(self, link: Link, worker: str) -> None:
        try:
            await link.order(subjects.CTL_WORKER, WorkerChange(worker, remove=True))
        except OakError as error:
            log.warning("removed worker %s: %s", worker, error.message)

    async def _table(self, link: Link, route: tables.Route, table: ServiceTable) -> None:
        try:
            await link.order(subjects.CTL_TABLE, table)
            self._tables[route] = table.generation
        except OakError as error:
            log.warning("table of %s: %s", table.job_name, error.message)


def _peers(link: Link) -> frozenset[str]:
    return frozenset(p.cluster for p in (link.state.peers or ())) if link.state else frozenset()
