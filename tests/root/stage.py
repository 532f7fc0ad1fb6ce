"""A root that is served on its socket, with clusters on real buses: what whole tests stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from oakctl import paths
from oakctl.api import serve
from oakctl.client.root import RootClient
from oakctl.errors import Unreachable
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import HostView
from tests.bus_fixture import Bus
from tests.root.descriptor import ARTIFACT
from tests.root.fake_cluster import FakeCluster, FakeInstaller
from tests.waiting import WAIT_S as DEADLINE_S
from tests.waiting import until

__all__ = ["DEADLINE_S", "Stage", "answers", "populate", "until", "upload"]


@dataclass
class Stage:
    """Buses, fake clusters, and the way to (re)start a root over them."""

    folder: Path
    installer: FakeInstaller = field(default_factory=lambda: FakeInstaller({}))

    async def cluster(self, name: str, room: int = 100) -> FakeCluster:
        """A bus and an orchestrator that the installer will hand out."""
        bus = Bus.create(self.folder / name, name)
        bus.start()
        fake = FakeCluster(bus, name, room)
        self.installer.buses[name] = bus
        self.installer.clusters[name] = fake
        await fake.start()
        return fake

    async def close(self) -> None:
        """Everything ends."""
        for fake in self.installer.clusters.values():
            await fake.stop()
            fake.bus.stop()

    @asynccontextmanager
    async def root(self) -> AsyncIterator[RootClient]:
        """A root served on this test's socket, stopped at the end of the block."""
        with serve.only_one(), serve.listening() as listener:
            task = asyncio.create_task(serve.serve(listener, True, 30.0, self.installer))
            async with RootClient() as client:
                try:
                    await until("the root to answer", lambda: answers(client), bool)
                    yield client
                finally:
                    if not task.done():
                        await client.shutdown()
                    async with asyncio.timeout(DEADLINE_S):
                        await task


async def answers(client: RootClient) -> bool:
    """Whether a root answers."""
    try:
        await client.status()
    except Unreachable:
        return False
    return True


async def populate(client: RootClient, *names: str) -> None:
    """A cluster with one worker for each name."""
    for number, name in enumerate(names):
        await client.put_host(HostView(f"{name}-o", f"127.{number + 1}.0.1"))
        await client.put_host(HostView(f"{name}-w", f"127.{number + 1}.0.2"))
        created = await client.create_cluster(ClusterCreate(name, f"{name}-o"))
        await client.wait_operation(created.id, DEADLINE_S)
        added = await client.add_worker(WorkerAdd("w1", name, f"{name}-w"))
        await client.wait_operation(added.id, DEADLINE_S)


async def upload(client: RootClient) -> str:
    """The artifact of `descriptor`."""
    file = paths.cache_directory() / "artifact.tar.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(ARTIFACT)
    return await client.upload_artifact(file)
