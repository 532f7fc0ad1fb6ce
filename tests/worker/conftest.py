"""The bus, the orchestrator and the agent of a test; all of them gone afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.bus_fixture import Bus
from tests.worker.stage import WORKER, AgentProcess, Orchestrator


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    """A running bus on which the worker is enrolled."""
    made = Bus.create(tmp_path / "cluster")
    made.enrol(WORKER)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def orchestrator(bus: Bus) -> AsyncIterator[Orchestrator]:
    """Listening on the bus."""
    made = await Orchestrator.connect(bus)
    yield made
    await made.client.close()


@pytest.fixture
def agent(bus: Bus, tmp_path: Path) -> Iterator[AgentProcess]:
    """Not started yet."""
    made = AgentProcess.create(bus, tmp_path / "host")
    yield made
    made.destroy()
