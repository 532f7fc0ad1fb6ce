"""An image that is in no registry, from an archive to a container: root, cluster, agent, Docker."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from oakctl.client import image_archive, image_push
from oakctl.client.image_push import Pushed
from oakctl.client.root import RootClient
from oakctl.model.instance import InstanceState
from oakctl.model.requests import ApplyRequest
from oakctl.model.views import HostView
from oakctl.orchestration.root.installer import Report
from oakctl.remote.bootstrap import WorkerInputs
from tests.bus_fixture import Bus
from tests.cluster.rig import Rig
from tests.image_files import (
    ARCHITECTURE,
    Built,
    docker_archive,
    filler,
    layer,
    oci_layout,
    written,
)
from tests.root.descriptor import application, service
from tests.root.stage import Stage, populate, until
from tests.root.test_with_orchestrator import RigInstaller
from tests.worker.docker_engine import DockerEngine, busybox, engine
from tests.worker.stage import AgentProcess

pytestmark = [pytest.mark.slow]


class AgentInstaller(RigInstaller):
    """Installs workers by starting real agents beside a real Docker."""

    def __init__(self, rigs: dict[str, Rig], folder: Path, docker_engine: DockerEngine) -> None:
        super().__init__(rigs)
        self.folder = folder
        self.docker_engine = docker_engine
        self.agents: list[AgentProcess] = []

    def worker(
        self,
        host: HostView,
        accept_new: bool,
        inputs: WorkerInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        bus = self.rigs[inputs.cluster].bus
        Path(bus.secret_file(inputs.worker)).write_text(inputs.secret)
        agent = AgentProcess.create(
            bus,
            self.folder / inputs.worker,
            overlay_driver="host",
            address="127.0.0.1",
            docker_socket=str(self.docker_engine.socket),
        )
        assert agent.config.worker == inputs.worker
        self.agents.append(agent)
        agent.start()


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    with engine() as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(Bus.create(tmp_path / "edge", "edge"))
    made.bus.start()
    yield made
    if made.process is not None:
        made.end_orchestrator(signal.SIGKILL)
    made.bus.kill()


@pytest_asyncio.fixture
async def installer(rig: Rig, docker_engine: DockerEngine) -> AsyncIterator[AgentInstaller]:
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = AgentInstaller({"edge": rig}, folder, docker_engine)
    yield made
    for agent in made.agents:
        agent.destroy()
    docker_engine.clean()
    shutil.rmtree(folder)


def built(version: bytes, architecture: str = ARCHITECTURE) -> Built:
    program = layer({"bin/busybox": busybox().read_bytes()})
    return Built((program, filler(5), layer({"version": version + b"\n"})), architecture)


async def push(client: RootClient, folder: Path, content: bytes) -> Pushed:
    with image_archive.Archive(written(folder, content)) as archive:
        chosen = image_archive.choose(archive.contents(), "")
        return await image_push.push(client, archive, chosen, lambda _: None)


def descriptor(name: str, code: str) -> str:
    script = ["/bin/busybox", "sh", "-c", "/bin/busybox cat /version; exec /bin/busybox sleep 99"]
    one = service("Web", virtualization="container", code=code, cmd=script)
    return application(one, name=name)


async def test_it_runs_from_an_archive_and_a_newer_one_brings_one_layer(
    tmp_path: Path, installer: AgentInstaller
) -> None:
    async with Stage(tmp_path, installer).root() as root:
        await populate(root, "edge")
        first = await push(root, tmp_path, docker_archive(built(b"one"), "local/ar:1"))
        await root.apply(ApplyRequest(descriptor("first", "local/ar:1")))
        await runs(root, "first", "one")

        # The same for two platforms; this node takes its own.
        platforms = oci_layout(
            [built(b"two", "riscv64"), built(b"two")], "local/ar:2", packed=False
        )
        second = await push(root, tmp_path, platforms)
        assert (first.sent_layers, second.sent_layers) == (3, 1)
        await root.apply(ApplyRequest(descriptor("second", "local/ar:2")))
        await runs(root, "second", "two")
        assert "1 of 3 layers" in installer.agents[0].log

        await push(root, tmp_path, docker_archive(built(b"three", "riscv64"), "local/ar:3"))
        await root.apply(ApplyRequest(descriptor("third", "local/ar:3")))
        told = await until(
            "the reason",
            lambda: root.explain("third.demo.Web.demo"),
            lambda found: "image local/ar:3 has no linux/" in str(found),
        )
        assert "it is for linux/riscv64" in str(told)


async def runs(root: RootClient, name: str, said: str) -> None:
    job = f"{name}.demo.Web.demo"
    await until(
        f"{name} to run",
        lambda: root.instances(job),
        lambda found: [one.state for one in found] == [InstanceState.RUNNING],
    )

    async def text() -> str:
        return "".join([one async for one in root.logs(f"{job}.instance.0")])

    await until("what it says", text, lambda found: said in found)
