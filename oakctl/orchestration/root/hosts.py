"""Machines by their names: registered, looked at, forgotten.

Belongs here: what is stored of a host, and when that may change. Does not belong here: how one is
reached (`root.host_access`), what is done to it (`root.bootstrap`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound
from oakctl.model.requests import HostCheckRequest
from oakctl.model.views import HostCheck, HostView
from oakctl.orchestration.root import credentials, names
from oakctl.orchestration.root.checking import Checking
from oakctl.orchestration.root.installer import Installer
from oakctl.orchestration.root.passwords import Passwords
from oakctl.orchestration.root.store import fleet
from oakctl.orchestration.root.store.database import Store


class Hosts:
    """The hosts of a root; their passwords for sudo are forgotten with them."""

    def __init__(
        self, store: Store, machines: Installer, checking: Checking, passwords: Passwords
    ) -> None:
        self._store = store
        self._machines = machines
        self._checking = checking
        self._passwords = passwords

    async def all(self) -> Sequence[HostView]:
        """Every host, with its role."""
        return await self._store.run(fleet.hosts)

    async def one(self, name: str) -> HostView:
        """One host; raises NotFound."""
        return (await self.named([name]))[0]

    async def named(self, wanted: Sequence[str]) -> list[HostView]:
        """These hosts, each once; raises NotFound."""
        known = {host.name: host for host in await self.all()}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise NotFound(f"there is no host {unknown[0]!r}", hint="oakctl host ls")
        return [known[name] for name in dict.fromkeys(wanted)]

    async def put(self, host: HostView) -> HostView:
        """Register a host; Conflict when it is in use and reached differently."""
        names.check(host.name, "host")

        def work(db: Database) -> HostView:
            known = fleet.host(db, host.name)
            stored = HostView(
                host.name,
                host.address,
                host.port,
                host.user,
                host.identity_file,
                host.jump,
                host.lab,
            )
            moved = known is not None and known.place != host.place
            if known is not None and known.role and moved:
                raise Conflict(
                    f"host {host.name} is {known.role} and lies at {known.place}",
                    hint=f"take its role away first, or register {host.address} by another name",
                )
            fleet.put_host(db, stored)
            return fleet.host(db, host.name) or stored

        return await self._store.run(work)

    async def check(self, request: HostCheckRequest) -> HostCheck:
        """Look at hosts and change nothing; without names at all of them. Raises NotFound."""
        # The way to another operator's cluster is no machine that could be looked at.
        own = [host for host in await self.all() if not credentials.is_gate(host.identity_file)]
        wanted = request.hosts or tuple(host.name for host in own)
        if request.orchestrator:
            wanted = (request.orchestrator, *wanted)
        hosts = await self.named(wanted)
        return await self._checking.check(hosts, request.accept_new, request.orchestrator)

    async def forget(self, name: str) -> None:
        """Its key too, where oakctl itself stored it; raises NotFound, or Conflict while it has a
        role."""

        def work(db: Database) -> HostView:
            known = fleet.host(db, name)
            if known is None:
                raise NotFound(f"there is no host {name!r}", hint="oakctl host ls")
            if known.role:
                raise Conflict(f"host {name} is {known.role}", hint=_take_away(known.role))
            fleet.forget_host(db, name)
            return known

        host = await self._store.run(work)
        if host.place not in {other.place for other in await self.all()}:
            await asyncio.to_thread(self._machines.forget_key, host)
        self._passwords.forget(name)


def _take_away(role: str) -> str:
    kind, _, name = role.split(",")[0].partition(" ")
    if kind == "worker":
        return f"first: oakctl worker remove {name}"
    return f"first: oakctl cluster remove {name.removeprefix('of ')}"
