"""Bus credentials of workers, roots and other clusters: given and taken back while the bus runs.

Belongs here: changing `users.json`, and waiting until the server has read the change. Does not
belong here: what the files look like (`bus_server`), the worker's record (`membership`).
"""

from __future__ import annotations

import asyncio
import json
import logging

from nats.aio.client import Client
from nats.errors import Error as NatsError

from oakctl.errors import Conflict, DeadlineExceeded, OakError
from oakctl.model.config import HostLayout
from oakctl.model.peers import peer_user
from oakctl.model.roots import granted_user
from oakctl.model.tokens import token_user
from oakctl.orchestration.cluster import bus_server

log = logging.getLogger("oakctl.cluster.credentials")

RELOAD_TIMEOUT_S = 5.0
POLL_S = 0.02
Users = dict[str, dict[str, str]]


class Credentials:
    """The users of this cluster's bus; `watcher` is a connection to its system account."""

    def __init__(self, layout: HostLayout, watcher: Client) -> None:
        self._layout = layout
        self._watcher = watcher
        self._lock = asyncio.Lock()

    def workers(self) -> tuple[str, ...]:
        """Those that have a credential; raises OakError."""
        users = bus_server.read_users(self._layout)
        return tuple(sorted(n for n, u in users.items() if u["role"] == bus_server.ROLE_WORKER))

    async def repair(self) -> None:
        """Bring the source into force when a crash came between the two files."""
        async with self._lock:
            users = bus_server.read_users(self._layout)
            if not bus_server.in_force(self._layout, users):
                log.warning("the bus users in force are not the stored ones: applying those")
                await self._apply(users)

    async def give(self, worker: str, bcrypt_hash: str) -> None:
        """Usable when this returns.

        Raises UsageError for a bad name or hash, Conflict when the name is taken by another
        role or the server refuses it, DeadlineExceeded when the server does not reload.
        """
        await self._give(bus_server.check_worker_name(worker), bus_server.ROLE_WORKER, bcrypt_hash)

    async def give_root(self, root: str, bcrypt_hash: str) -> None:
        """As `give`, for a granted root."""
        await self._give(granted_user(root), bus_server.ROLE_GRANTED, bcrypt_hash)

    async def give_token(self, token: str, bcrypt_hash: str) -> None:
        """As `give`, for a token by which a machine joins."""
        await self._give(token_user(token), bus_server.ROLE_JOINING, bcrypt_hash)

    async def give_peer(self, cluster: str, bcrypt_hash: str) -> None:
        """As `give`, for the orchestrator of another cluster."""
        await self._give(peer_user(cluster), bus_server.ROLE_PEER, bcrypt_hash)

    async def take_back(self, worker: str) -> None:
        """Its connection is cut; raises as `give` does. Unknown: nothing to do."""
        await self._take_back(worker, bus_server.ROLE_WORKER)

    async def take_back_root(self, root: str) -> None:
        """As `take_back`, for a granted root."""
        await self._take_back(granted_user(root), bus_server.ROLE_GRANTED)

    async def take_back_token(self, token: str) -> None:
        """As `take_back`, for a token."""
        await self._take_back(token_user(token), bus_server.ROLE_JOINING)

    async def take_back_peer(self, cluster: str) -> None:
        """As `take_back`, for another cluster."""
        await self._take_back(peer_user(cluster), bus_server.ROLE_PEER)

    async def _give(self, user: str, role: str, bcrypt_hash: str) -> None:
        wanted = {"role": role, "hash": bcrypt_hash}
        async with self._lock:
            users = bus_server.read_users(self._layout)
            known = users.get(user)
            if known == wanted:
                return
            if known is not None and known["role"] != role:
                raise Conflict(f"{user} is the {known['role']} of this bus")
            if known is not None:
                # A new hash alone would leave whoever has the old secret connected.
                await self._apply({n: u for n, u in users.items() if n != user})
            await self._apply({**users, user: wanted})

    async def _take_back(self, user: str, role: str) -> None:
        async with self._lock:
            users = bus_server.read_users(self._layout)
            if users.get(user, {}).get("role") == role:
                await self._apply({n: u for n, u in users.items() if n != user})

    async def _apply(self, users: Users) -> None:
        before = await self._loaded_at()
        running = await asyncio.to_thread(bus_server.apply_users, self._layout, users)
        if running:
            await self._reloaded(before)

    async def _reloaded(self, before: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RELOAD_TIMEOUT_S
        while await self._loaded_at() == before:
            if loop.time() >= deadline:
                raise DeadlineExceeded(
                    f"the bus has not read its new users within {RELOAD_TIMEOUT_S:.0f} s",
                    hint=f"look at {self._layout.log('bus')} on the cluster's host",
                )
            await asyncio.sleep(POLL_S)

    async def _loaded_at(self) -> str:
        """When the server last read its configuration, as it says itself."""
        try:
            answer = await self._watcher.request("$SYS.REQ.SERVER.PING.VARZ", b"", timeout=2)
            return str(json.loads(answer.data)["data"]["config_load_time"])
        except (NatsError, OSError, asyncio.TimeoutError, ValueError, KeyError) as error:
            raise OakError(f"the bus does not say when it was configured: {error!r}") from error
