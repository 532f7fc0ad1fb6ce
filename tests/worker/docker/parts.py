"""What tests of single parts share: a node, an instance, a runtime."""

from __future__ import annotations

from pathlib import Path

from oakctl.model.instance import DesiredInstance
from oakctl.model.node import ContainerGrants
from oakctl.orchestration.worker.docker import (
    request,
    seen,
)
from oakctl.orchestration.worker.docker.accelerators import Accelerators
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.docker.request import Node, Surroundings
from oakctl.orchestration.worker.docker.runtime import DockerRuntime
from oakctl.orchestration.worker.secrets import Secrets
from oakctl.overlay.host import HostDriver
from tests.worker.stage import spec

NODE = Node("edge", "w1", "/opt/oakctl", cpus=4.0)


AROUND = Surroundings("sha256:image", "192.0.2.7")


NAME = "app.ns.srv.ns.instance.0"


def instance(**changes: object) -> DesiredInstance:
    return DesiredInstance(spec("web:1", virtualization="container", **changes), 0, 3, "10.18.0.70")


def host_config(around: Surroundings = AROUND, node: Node = NODE, **changes: object) -> dict:  # type: ignore[type-arg]
    found = request.body(instance(**changes), 1, node, around)["HostConfig"]
    assert isinstance(found, dict)
    return found


def runtime_with(driver: Driver, folder: Path) -> DockerRuntime:
    async def collect(_: seen.Seen) -> None:
        pass

    images = Images(driver, folder / "images.json", lambda: None)
    return DockerRuntime(
        driver, images, None, HostDriver(""), lambda: NODE,  # type: ignore[arg-type]
        ContainerGrants(), Accelerators(), lambda: "", collect, lambda: None,
        Secrets("/x", None, lambda: None),
    )  # fmt: skip
