"""The runtime for containers, put together.

Belongs here: which part hears of what, and what a node with Docker says of itself. Does not
belong here: anything that a part does.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.node import ContainerFacts, ContainerGrants
from oakctl.orchestration.worker.artifacts import Artifacts
from oakctl.orchestration.worker.containers import Login
from oakctl.orchestration.worker.docker import accelerators, request
from oakctl.orchestration.worker.docker.accelerators import Accelerators
from oakctl.orchestration.worker.docker.blobs import Blobs
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.exec import Executions
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.docker.outputs import Outputs
from oakctl.orchestration.worker.docker.pushed import PushedImages
from oakctl.orchestration.worker.docker.request import Node
from oakctl.orchestration.worker.docker.runtime import DockerRuntime
from oakctl.orchestration.worker.docker.seen import Seen
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.overlay import OverlayDriver
from oakctl.orchestration.worker.secrets import Secrets

COLLECT_EVERY_S = 5.0  # before Docker's own bounded log has turned over
TOOLKIT = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")  # what Docker runs
NETWORKS = {"loopback": request.HOST, "kernel": request.NONE}  # by overlay
JETSON_GPU = Path("/dev/nvhost-ctrl-gpu")


class Parts:
    """Driver, images, outputs and runtime of one node."""

    def __init__(
        self,
        config: WorkerConfig,
        socket: str,
        grants: ContainerGrants,
        files: InstanceFiles,
        artifacts: Artifacts,
        overlay: OverlayDriver,
        wake: Callable[[], None],
        changed: Callable[[ContainerFacts], None],
        secrets: Secrets,
        login: Login,
    ) -> None:
        self._wake = wake
        self._changed = changed
        self._grants = grants
        self._files = files
        self._told: ContainerFacts | None = None
        network = NETWORKS.get(config.overlay_driver, request.BRIDGE)
        self._node = Node(config.cluster, config.worker, config.prefix, network)
        self._here = accelerators_here(grants, config.declared)
        self._driver = Driver(socket, config.prefix, self._on_change)
        self._driver.before_end = self._before_end
        self.executions = Executions(self._driver, socket)
        self.outputs = Outputs(files, self._driver)
        state = HostLayout(config.prefix)
        ledger = Path(state.state("agent/images.json"))
        blobs = Blobs(Path(state.state("agent/blobs")), artifacts.source)
        pushed = PushedImages(self._driver, blobs)
        self.images = Images(self._driver, ledger, wake, pushed=pushed, login=login)
        self.runtime = DockerRuntime(
            self._driver, self.images, artifacts, overlay, self.node, grants, self._here,
            self._gpu_trouble, self.outputs.collect, wake, secrets,
        )  # fmt: skip

    def node(self) -> Node:
        """What of this node goes into its containers."""
        engine = self._driver.engine
        return replace(self._node, cpus=engine.facts.cpus) if engine else self._node

    async def run(self) -> None:
        """Keep going; ends only by being cancelled."""
        await asyncio.gather(self._driver.run(), self._collecting())

    async def close(self) -> None:
        """End what is under way; containers go on."""
        await self.runtime.close()
        await self.images.close()

    async def _collecting(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_EVERY_S)
            self.outputs.keep_only(self._files.names())
            for one in self._driver.ours():
                if one.lives:
                    await self.outputs.collect(one)

    async def _before_end(self, found: Seen) -> None:
        await self.outputs.collect(found)

    def _on_change(self) -> None:
        found = self._facts()
        if found != self._told:
            self._told = found
            self._changed(found)
        self._wake()

    def _gpu_trouble(self) -> str:
        engine = self._driver.engine
        runtimes = engine.facts.runtimes if engine else ()
        return accelerators.why_not(self._here, runtimes, any(map(shutil.which, TOOLKIT)))

    def _facts(self) -> ContainerFacts:
        engine = self._driver.engine
        if engine is None or not self._driver.known:
            return ContainerFacts(reason=self._driver.trouble, grants=self._grants)
        here = engine.facts
        return ContainerFacts(
            engine=f"Docker {here.version}, API {here.api}",
            platform=here.platform,
            gpus="" if self._gpu_trouble() else self._here.mode,
            grants=self._grants,
        )


def accelerators_here(grants: ContainerGrants, declared: tuple[str, ...]) -> Accelerators:
    """The GPUs and TPUs of this machine, or those that its operator names."""
    tpus = grants.vtpu_devices or _devices("apex_[0-9]*")
    if grants.vgpu_devices:
        return Accelerators(accelerators.DEVICES, grants.vgpu_devices, tpus, declared)
    if JETSON_GPU.exists():
        return Accelerators(accelerators.JETSON, ("0",), tpus, declared)
    gpus = tuple(path.removeprefix("/dev/nvidia") for path in _devices("nvidia[0-9]*"))
    mode = accelerators.NVIDIA if gpus or shutil.which("nvidia-smi") else ""
    return Accelerators(mode, gpus, tpus, declared)


def _devices(pattern: str) -> tuple[str, ...]:
    return tuple(sorted(str(path) for path in Path("/dev").glob(pattern)))
