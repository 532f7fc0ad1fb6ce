"""The root and the real cluster orchestrator: one contract, kept by both, also after SIGKILL."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from oakctl.client.root import RootClient
from oakctl.model.instance import InstanceState
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import HostView, InstanceView
from oakctl.orchestration.root.installer import Report
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs
from tests.bus_fixture import Bus
from tests.cluster.rig import TIMERS, Rig, Worker, facts
from tests.root.descriptor import application, service
from tests.root.fake_cluster import FakeInstaller
from tests.root.stage import Stage, populate, until, upload


class RigInstaller(FakeInstaller):
    """Installs by starting the real orchestrator, and agents that claim to run everything."""

    def __init__(self, rigs: dict[str, Rig]) -> None:
        super().__init__({name: rig.bus for name, rig in rigs.items()})
        self.rigs = rigs
        self.loop = asyncio.get_running_loop()

    def cluster(
        self,
        host: HostView,
        accept_new: bool,
        inputs: ClusterInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> ClusterAccess:
        access = super().cluster(host, accept_new, inputs, report, cancelled)
        self.rigs[inputs.cluster].start_orchestrator()
        return access

    def worker(
        self,
        host: HostView,
        accept_new: bool,
        inputs: WorkerInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        rig = self.rigs[inputs.cluster]
        Path(rig.bus.secret_file(inputs.worker)).write_text(inputs.secret)
        its_facts = replace(facts(memory_mb=256), limits_reason="a test")
        joining = Worker.join(rig.bus, inputs.worker, its_facts)
        future = asyncio.run_coroutine_threadsafe(joining, self.loop)
        rig.workers[inputs.worker] = future.result(30)


@pytest_asyncio.fixture
async def rigs(tmp_path: Path) -> AsyncIterator[dict[str, Rig]]:
    """Two clusters' hosts: a bus that runs, an orchestrator that does not yet."""
    timers = replace(TIMERS, suspect_s=5.0, dead_s=15.0)
    blocks = {"edge": "10.18.0.0/20", "cloud": "10.18.16.0/20"}  # as the root gives them
    made = {
        name: Rig(Bus.create(tmp_path / name, name), timers, block)
        for name, block in blocks.items()
    }
    for rig in made.values():
        rig.bus.start()
    yield made
    await ended(made)


async def ended(rigs: dict[str, Rig]) -> None:
    """Everything of them ends."""
    for rig in rigs.values():
        for worker in rig.workers.values():
            await worker.vanish()
        if rig.process is not None:
            rig.end_orchestrator(signal.SIGKILL)
        rig.bus.kill()


async def running(root: RootClient, count: int) -> tuple[InstanceView, ...]:
    """The instances of Rec when exactly `count` run."""

    def holds(found: tuple[InstanceView, ...]) -> bool:
        states = [view.state for view in found]
        return len(found) == count and set(states) <= {InstanceState.RUNNING}

    return await until(f"{count} of Rec", lambda: root.instances("Rec"), holds)


def held(rigs: dict[str, Rig]) -> list[tuple[str, int]]:
    """(cluster, number) of everything that workers run."""
    return sorted(
        (name, number)
        for name, rig in rigs.items()
        for worker in rig.workers.values()
        for _, number in worker.instances
    )


@pytest.mark.slow
async def test_place_refuse_scale_kill_and_delete(tmp_path: Path, rigs: dict[str, Rig]) -> None:
    stage = Stage(tmp_path, RigInstaller(rigs))
    async with stage.root() as root:
        await populate(root, "edge", "cloud")
        await upload(root)
        # 64 MiB each, 256 MiB on a worker: neither cluster holds all five.
        await root.apply(ApplyRequest(application(service("Rec", 5))))
        found = await running(root, 5)
        assert {view.cluster for view in found} == {"edge", "cloud"}
        assert all(view.address.startswith("10.18.") for view in found)
        assert held(rigs) == sorted((view.cluster, view.number) for view in found)

        view = await root.scale("Rec", 9)
        assert view.wanted == 9
        pending = await until(
            "the ninth to wait", lambda: root.service("Rec"), lambda v: v.state == "pending"
        )
        assert "memory" in pending.reason

        for rig in rigs.values():
            rig.end_orchestrator(signal.SIGKILL)
        await root.scale("Rec", 2)
        for rig in rigs.values():
            rig.start_orchestrator()
        found = await running(root, 2)
        assert [view.number for view in found] == [0, 1]

        rigs["edge"].bus.kill()
        rigs["edge"].bus.start()
        await root.scale("Rec", 4)
        found = await running(root, 4)
        assert held(rigs) == sorted((view.cluster, view.number) for view in found)
        explained = await root.explain("Rec")
        assert any("a test" in note for note in explained.notes)

    async with stage.root() as root:
        again = await running(root, 4)
        assert [(v.name, v.epoch) for v in again] == [(v.name, v.epoch) for v in found]
        await root.delete_application("ar")
        await until("the end", root.applications, lambda left: not left)
        assert held(rigs) == []
        kinds = [event.kind async for event in root.events()]
        assert "instance.running" in kinds
