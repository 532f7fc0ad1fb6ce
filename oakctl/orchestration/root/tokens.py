"""Workers that join by a token: made by their machines' owners, without SSH from here.

Belongs here: having a token made, and taking note of what becomes of it. Such a worker has no host
of ours: its row names none. Does not belong here: whether a token is taken (`cluster.tokens`), how
a worker goes (`root.removal`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, OakError
from oakctl.model import subjects
from oakctl.model.messages import ClusterState
from oakctl.model.requests import WorkerAdd
from oakctl.model.tokens import OPEN, USED, JoinFile, TokenOrder, TokenRequest, TokenSummary
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root import credentials, names
from oakctl.orchestration.root.means import Means
from oakctl.orchestration.root.store import events, fleet
from oakctl.remote.target import split_address

log = logging.getLogger("oakctl.root.tokens")

JOINED, ENDED = "joined", "ended"


class JoinTokens:
    """The commands `worker token` and `worker tokens`."""

    def __init__(self, means: Means) -> None:
        self._means = means

    async def listed(self, cluster: str) -> Sequence[TokenSummary]:
        """The tokens of the last day; raises NotFound, Conflict for another's cluster."""
        await self._means.store.run(lambda db: fleet.cluster_and_host(db, cluster))
        credentials.own(cluster, "who joins")
        state = self._means.clusters.link(cluster).state
        return state.tokens if state is not None else ()

    async def make(self, request: TokenRequest) -> JoinFile:
        """Have a token made; what is returned is nowhere here any more.

        The worker's name is taken until the token has ended. Raises UsageError, NotFound,
        Conflict, Unreachable.
        """
        cluster = request.cluster
        await self._means.store.run(lambda db: fleet.cluster_and_host(db, cluster))
        credentials.own(cluster, "who joins")
        access = credentials.access(cluster)
        if access is None:
            raise NotFound(f"cluster {cluster} is not complete", hint="oakctl cluster ls")
        name = await self._means.store.run(lambda db: _name(db, request))
        id, secret, own = secrets.token_hex(8), secrets.token_hex(16), secrets.token_hex(16)
        order = TokenOrder(id, name, credentials.hashed(own), credentials.hashed(secret), secret)
        link = self._means.clusters.link(cluster)
        await link.order(subjects.CTL_INVITE, order)
        # Before the row: one whose token the cluster does not list has none.
        await link.refresh()
        asked = WorkerAdd(
            name,
            cluster,
            "",
            contribution=request.contribution,
            location=request.location,
            labels=request.labels,
        )

        def store(db: Database) -> None:
            fleet.put_worker(db, fleet.WorkerRow(asked, "joining"))
            message = "its owner may make it, by a token that is good once, for ten minutes"
            events.append(
                db, time.time(), "worker.token", f"{cluster}/{name}", message, cluster=cluster
            )

        await self._means.store.run(store)
        address, port = access.bus_address, access.bus_port
        if request.address:
            _, address, port = split_address(request.address, port)
        self._means.bell.ring()
        return JoinFile(
            id=id,
            cluster=cluster,
            worker=name,
            secret=own,
            bus_address=address,
            bus_port=port,
            ca_pem=access.ca_pem,
            contribution=request.contribution,
            location=request.location,
            labels=request.labels,
        )

    async def settle(self) -> None:
        """Take note of who has joined, and of tokens that ended without."""
        heard = {
            name: link.state
            for name, link in self._means.clusters.links.items()
            if link.reachable and link.state is not None
        }
        try:
            found = await self._means.store.run(lambda db: _settle(db, heard, time.time()))
        except OakError as error:  # a full disk: the next look finds it again
            log.warning("who has joined is not noted now: %s", error.message)
            return
        if found:
            self._means.bell.ring()


def outcome(worker: str, state: ClusterState) -> str:
    """What became of a worker that may join: joined, ended, or empty while that is open. Pure."""
    if any(one.name == worker and one.facts is not None for one in state.workers):
        return JOINED
    waiting = any(
        one.worker == worker and one.state in (OPEN, USED) for one in state.tokens
    ) or any(one.name == worker for one in state.workers)
    return "" if waiting else ENDED


def _settle(db: Database, heard: dict[str, ClusterState], now: float) -> bool:
    changed = False
    for row in fleet.workers(db):
        state = heard.get(row.cluster)
        if row.request.host or row.state != "joining" or state is None:
            continue
        became = outcome(row.name, state)
        subject = f"{row.cluster}/{row.name}"
        if became == JOINED:
            fleet.set_worker(db, row.cluster, row.name, "ready")
            machine = next((t.machine for t in state.tokens if t.worker == row.name), "")
            message = f"joined by token, from {machine or 'a machine without a name'}"
            events.append(db, now, "worker.added", subject, message, cluster=row.cluster)
        elif became == ENDED:
            fleet.forget_worker(db, row.cluster, row.name)
            message = "its token ended without being used"
            events.append(db, now, "worker.token", subject, message, cluster=row.cluster)
        changed = changed or bool(became)
    return changed


def _name(db: Database, request: TokenRequest) -> str:
    taken = {row.name for row in fleet.workers(db) if row.cluster == request.cluster}
    if not request.name:
        return next(f"w{n}" for n in range(1, len(taken) + 2) if f"w{n}" not in taken)
    name = bus_server.check_worker_name(names.check(request.name, "worker"))
    if name in taken:
        raise Conflict(
            f"there is a worker {request.cluster}/{name} already",
            hint=f"oakctl worker show {request.cluster}/{name}",
        )
    return name
