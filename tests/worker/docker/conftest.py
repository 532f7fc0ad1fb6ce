"""One real Docker Engine for all of this folder, and an agent beside it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from oakctl.orchestration.worker.docker.driver import Driver
from tests.bus_fixture import Bus
from tests.worker.docker_engine import DockerEngine, engine
from tests.worker.stage import AgentProcess, until


@pytest.fixture(scope="package")
def docker_engine() -> Iterator[DockerEngine]:
    """With one image; tests leave it as they found it, or stopped."""
    with engine() as made:
        yield made


@pytest.fixture
def agent(bus: Bus, docker_engine: DockerEngine) -> Iterator[AgentProcess]:
    """As on a real host: no overlay, root, Docker."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = AgentProcess.create(
        bus,
        folder,
        overlay_driver="host",
        address="127.0.0.1",
        docker_socket=str(docker_engine.socket),
    )
    yield made
    made.destroy()
    if docker_engine.process is None:
        docker_engine.start()
    docker_engine.clean()
    shutil.rmtree(folder)


@pytest.fixture
async def driver(docker_engine: DockerEngine) -> AsyncIterator[Driver]:
    """A connection to the engine, without an agent."""
    made = Driver(str(docker_engine.socket), "/test", lambda: None)
    task = asyncio.ensure_future(made.run())
    await until(lambda: made.known, "Docker to answer")
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
