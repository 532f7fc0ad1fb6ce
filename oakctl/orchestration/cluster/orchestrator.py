"""The orchestrator put together: its start, its loops, its connections.

Belongs here: the order of the start, and what ends it. Everything it knows is durable, so whatever
goes wrong in a way that nobody foresaw ends it, and its supervisor starts it again. Does not
belong here: signals and exit codes (`process`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.errors import DeadlineExceeded, OakError, Unreachable
from oakctl.model import subjects, wire
from oakctl.model.config import ClusterConfig, HostLayout
from oakctl.model.messages import ClusterState
from oakctl.orchestration import bus
from oakctl.orchestration.cluster import bus_server, clock, membership, spare, store
from oakctl.orchestration.cluster.address_desk import AddressDesk
from oakctl.orchestration.cluster.admission_file import AdmissionFile
from oakctl.orchestration.cluster.artifacts import Artifacts
from oakctl.orchestration.cluster.audience import Audience
from oakctl.orchestration.cluster.autoscaler import Autoscaler
from oakctl.orchestration.cluster.core import Core
from oakctl.orchestration.cluster.credentials import Credentials
from oakctl.orchestration.cluster.desk import Tasks
from oakctl.orchestration.cluster.outbox import Outbox
from oakctl.orchestration.cluster.overlay_candidates import OverlayCandidates
from oakctl.orchestration.cluster.overlay_desk import OverlayDesk
from oakctl.orchestration.cluster.peer_file import PeerFolder
from oakctl.orchestration.cluster.peers import Peers
from oakctl.orchestration.cluster.processes import ProcessMeter
from oakctl.orchestration.cluster.root_desk import RootDesk
from oakctl.orchestration.cluster.secret_desk import SecretDesk
from oakctl.orchestration.cluster.secrets import Secrets
from oakctl.orchestration.cluster.state import SettingsRecord, State
from oakctl.orchestration.cluster.store import Store
from oakctl.orchestration.cluster.summary import cluster_state
from oakctl.orchestration.cluster.token_desk import TokenDesk
from oakctl.orchestration.cluster.tokens import Tokens
from oakctl.orchestration.cluster.uplink import Uplink
from oakctl.orchestration.cluster.worker_desk import WorkerDesk
from oakctl.overlay import addressing

log = logging.getLogger("oakctl.cluster")

SWEEP_S = 0.25
LATE_SWEEP_S = 1.0  # more than this between two: we did not run, so we did not hear either
STORE_TIMEOUT_S = 60.0
STORE_RETRY_S = 0.25
CLOSE_TIMEOUT_S = 2.0


class Orchestrator:
    """One cluster's orchestrator."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._layout = HostLayout(config.prefix)
        self._release = HostLayout.version_of(os.path.realpath(sys.argv[0]))
        self._clients: list[Client] = []
        self._tasks = Tasks()
        self._uplink = Uplink(config.cluster)
        self._audience = Audience(AdmissionFile(self._layout.admission))
        self._artifacts = Artifacts(Path(self._layout.state("artifacts")))
        self._secrets = Secrets(Path(self._layout.state("secrets.json")))
        self._tokens = Tokens(Path(self._layout.state("tokens.json")))
        self._peers: Peers | None = None
        self._meter = ProcessMeter()
        self._autoscaler = Autoscaler(self._uplink.touch)
        self._back = asyncio.Event()
        self._store: Store | None = None
        self._refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve until cancelled; raises OakError when it can't go on."""
        watcher = await self._connect("watcher")
        client = await self._connect("orchestrator")
        stored = Store(client)
        self._store = stored
        credentials = Credentials(self._layout, watcher)
        core = await self._load(client, stored, credentials)
        await watcher.subscribe(
            f"$SYS.ACCOUNT.{subjects.ACCOUNT}.DISCONNECT", cb=_disconnects(core)
        )
        heartbeat_s = self._config.timers.heartbeat_s
        tokens = TokenDesk(client, core, credentials, self._tokens, self._uplink.touch)
        workers = WorkerDesk(client, core, self._artifacts, self._uplink, self._tasks, heartbeat_s)
        root = RootDesk(
            client,
            core,
            self._artifacts,
            credentials,
            self._secrets,
            self._tasks,
            lambda: self._uplink.compose(self._compose(core)),
            self._audience,
            tokens,
        )
        folder = PeerFolder(Path(self._layout.state("peers")), self._config.cluster)
        touch = self._uplink.touch
        peers = Peers(self._config.cluster, client, core, credentials, folder, touch)
        self._peers = peers
        secrets = SecretDesk(client, core, self._secrets)
        addresses = AddressDesk(client, core)
        candidates = OverlayCandidates(core)
        overlays = candidates.reports
        await workers.open()
        await overlays.open(client)
        await OverlayDesk(client, core, self._tasks, overlays.of).open()
        await secrets.open()
        await addresses.open()
        await root.open()
        await tokens.open()
        await peers.open()
        await root.sessions.open(watcher)
        log.info("cluster %s: %d workers, %d instances", self._config.cluster,
                 len(core.state.workers), len(core.state.instances))  # fmt: skip
        await self._until_one_ends(
            self._sweep(client, core),
            self._reconcile(core),
            self._weigh(core),
            self._autoscaler.run(core),
            self._uplink.run_states(client, self._compose(core), self._audience),
            self._uplink.run_statistics(client, self._audience),
            core.outbox.run(client, stored),
            secrets.tidy(),
            addresses.tidy(),
            tokens.tidy(),
            peers.run(),
            self._audience.run_events(client),
            self._thrown_out(),
            candidates.run(),
        )

    async def close(self) -> None:
        """Leave the bus; nothing is written here: all is durable."""
        await self._tasks.close()
        for client in self._clients:
            # One that is reconnecting has nobody to say good-bye to.
            with contextlib.suppress(NatsError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(client.close(), CLOSE_TIMEOUT_S)

    async def _connect(self, name: str) -> Client:
        own = name == "orchestrator"
        access = self._config.bus if own else self._config.watcher
        try:
            client = await bus.connect(
                access,
                name=name,
                on_reconnected=self._reconnected if own else None,
                on_refused=self._on_refused,
            )
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            raise Unreachable(
                f"the bus refuses the {name}: {error}",
                hint="run `oakctl cluster create` again for this host",
            ) from error
        self._clients.append(client)
        return client

    async def _load(self, client: Client, stored: Store, credentials: Credentials) -> Core:
        await _when_ready("JetStream", stored.open)
        await _when_ready("the object store", lambda: self._artifacts.open(client))
        contents = await _when_ready("the stored state", stored.read)
        await credentials.repair()
        now = clock.read()
        empty = State(
            self._config.cluster,
            SettingsRecord(self._config.policy),
            addressing.worker_subnets(self._config.node_subnets),
        )
        try:
            state = store.restored(contents, empty)
        except wire.Malformed as error:
            raise OakError(
                f"the stored state can't be read: {error}",
                hint="it was written by a newer oakctl: upgrade this cluster",
            ) from error
        before = state
        for worker in credentials.workers():
            state = membership.enrolled(state, worker, now)
        events = contents[subjects.BUCKET_EVENTS]
        outbox = Outbox(self._config.cluster, events, now, self._audience.overhear)
        core = Core(client, stored, state, outbox, self._config.timers, self._changed)
        await core.start(before)
        self._audience.looks_at(lambda: core.state)
        return core

    def _changed(self) -> None:
        self._uplink.touch()
        if self._peers is not None:
            self._peers.touch()

    def _compose(self, core: Core) -> Callable[[str, int], ClusterState]:
        def compose(session: str, seq: int) -> ClusterState:
            now = clock.read()
            pids = {"bus": bus_server.server_pid(self._layout), "orchestrator": os.getpid()}
            return cluster_state(
                core.state,
                core.fleet,
                core.documents,
                location=self._config.location,
                processes=self._meter.look(pids, now.mono),
                session=session,
                seq=seq,
                release=self._release,
                secrets=self._secrets.versions(),
                tokens=self._tokens.summaries(now.wall),
                peers=self._peers.summaries() if self._peers is not None else (),
                wishes=self._autoscaler.wishes,
                now=now,
            )

        return compose

    async def _sweep(self, client: Client, core: Core) -> None:
        last = clock.read().mono
        while True:
            await asyncio.sleep(SWEEP_S)
            now = clock.read().mono
            if not client.is_connected or now - last > SWEEP_S + LATE_SWEEP_S:
                core.excuse()
            else:
                await core.sweep()
            last = clock.read().mono

    async def _weigh(self, core: Core) -> None:
        while True:
            await asyncio.sleep(spare.INTERVAL_S)
            await core.weigh()

    async def _reconcile(self, core: Core) -> None:
        while True:
            await self._back.wait()
            self._back.clear()
            core.excuse()
            await _when_ready("the bus after its return", core.reconcile)

    async def _reconnected(self) -> None:
        log.info("the bus is back")
        if self._store is not None:
            self._store.interrupt()
        self._back.set()

    async def _on_refused(self, reason: str) -> None:
        if not self._refused.done():
            self._refused.set_result(reason)

    async def _thrown_out(self) -> None:
        reason = await self._refused
        raise Unreachable(f"the bus does not know us any more: {reason}")

    async def _until_one_ends(self, *loops: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.get_running_loop().create_task(work) for work in loops]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _when_ready(what: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Its result, tried until the bus is able; raises DeadlineExceeded."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STORE_TIMEOUT_S
    while True:
        try:
            return await work()
        except (NatsError, OSError, asyncio.TimeoutError) as error:
            if loop.time() >= deadline:
                raise DeadlineExceeded(
                    f"{what} is not ready after {STORE_TIMEOUT_S:.0f} s: {error!r}"
                ) from error
            log.info("%s is not ready yet: %r", what, error)
            await asyncio.sleep(STORE_RETRY_S)


def _disconnects(core: Core) -> Callable[[Msg], Awaitable[None]]:
    async def on_disconnect(message: Msg) -> None:
        try:
            user = str(json.loads(message.data)["client"]["user"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("an advisory that can't be read: %r", error)
            return
        core.disconnected(user)

    return on_disconnect
