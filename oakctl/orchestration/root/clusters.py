"""The links of all clusters: opened at the start and after a bootstrap, closed at the end.

Belongs here: which links there are, and what is stored and told when one says something. Does
not belong here: the link itself (`root.links`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlite_utils import Database

from oakctl.errors import Unreachable
from oakctl.model.config import BusAccess
from oakctl.model.messages import ClusterEvent
from oakctl.model.roots import granted_user
from oakctl.model.subjects import USER_ROOT
from oakctl.model.views import HostView
from oakctl.orchestration.root import credentials
from oakctl.orchestration.root.bell import Bell
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.links import Link
from oakctl.orchestration.root.store import events, fleet, records
from oakctl.orchestration.root.store.database import Store
from oakctl.remote.bootstrap import ClusterAccess


class Clusters:
    """`links` by cluster name. `on_change` is called whenever one says something."""

    def __init__(
        self, store: Store, installer: Installer, bell: Bell, on_change: Callable[[], None]
    ) -> None:
        self.links: dict[str, Link] = {}
        self._store = store
        self._installer = installer
        self._bell = bell
        self._on_change = on_change
        self._reachable: dict[str, bool] = {}

    async def open_all(self) -> None:
        """Begin to connect to every cluster whose bootstrap came that far."""

        def read(db: Database) -> list[tuple[fleet.ClusterRow, HostView | None]]:
            return [(row, fleet.host(db, row.host)) for row in fleet.clusters(db)]

        for row, host in await self._store.run(read):
            access = credentials.access(row.name)
            if access is not None and host is not None:
                await self.open(row.name, host, access)
        for seen_at, state in await self._store.run(records.sightings):
            if state.cluster in self.links:
                self.links[state.cluster].show(state, seen_at)

    async def open(self, name: str, host: HostView, access: ClusterAccess) -> None:
        """Begin to connect; what was open under this name is closed before."""
        await self.close(name)
        secret_file, _ = credentials.root_secret(name)
        bus_access = BusAccess(
            url="",  # the tunnel's port, known when it has begun
            tls_hostname=access.tls_hostname,
            ca_file=str(credentials.ca_file(name)),
            user=granted_user(access.account) if access.account else USER_ROOT,
            secret_file=str(secret_file),
        )
        tunnel = self._installer.tunnel(host, access)
        link = Link(name, bus_access, tunnel, self, account=access.account)
        self.links[name] = link
        await link.start()

    async def close(self, name: str) -> None:
        """Close one; none of that name: nothing."""
        link = self.links.pop(name, None)
        if link is not None:
            await link.close()

    async def close_all(self) -> None:
        """Keep the last each has said, and close them."""
        for link in list(self.links.values()):
            await self._keep(link)
        for name in list(self.links):
            await self.close(name)

    def link(self, name: str) -> Link:
        """The link of a cluster; raises Unreachable when there is none."""
        if name not in self.links:
            raise Unreachable(
                f"cluster {name} has no link: its bootstrap is not complete",
                hint=f"oakctl cluster show {name}",
            )
        return self.links[name]

    def cluster_changed(self, link: Link) -> None:
        """See `links.Listener`."""
        self._bell.ring()
        self._on_change()

    async def cluster_event(self, event: ClusterEvent) -> None:
        """See `links.Listener`."""
        await self._store.run(lambda db: events.append_of_cluster(db, event))
        self._bell.ring()

    async def note_reachability(self) -> None:
        """An event for each cluster that came or went; the last word of one that went is kept."""
        for link in list(self.links.values()):
            before, now = self._reachable.get(link.name), link.reachable
            if before is now or (before is None and not now):
                continue
            self._reachable[link.name] = now
            if not now:
                await self._keep(link)
            await self._store.run(_reachability(link.name, now, link.reason))
            self._bell.ring()

    async def _keep(self, link: Link) -> None:
        state, seen = link.state, link.last_seen
        if state is not None and link.name:
            await self._store.run(lambda db: records.put_sighting(db, state, seen))


def _reachability(name: str, reachable: bool, reason: str) -> Callable[[Database], None]:
    kind = "cluster.ready" if reachable else "cluster.unreachable"
    message = "it answers" if reachable else "it does not answer; what runs there goes on"

    def work(db: Database) -> None:
        events.append(db, time.time(), kind, name, message, reason=reason, cluster=name)

    return work
