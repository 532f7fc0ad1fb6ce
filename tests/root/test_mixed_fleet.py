"""One service on several architectures, with images that were pushed and others in registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.client import image_archive, image_push
from oakctl.client.root import RootClient
from oakctl.errors import Conflict
from oakctl.model.messages import Aggregate, ClusterState, WorkerSummary
from oakctl.model.node import ContainerFacts, NodeFacts, Usage
from oakctl.model.requests import ApplyRequest
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.images import fits
from tests.image_files import Built, docker_archive, filler, layer, oci_layout, written
from tests.root.descriptor import application, service
from tests.root.stage import Stage

NOTHING = Resources()


def built(architecture: str) -> Built:
    return Built((filler(1), layer({"for": architecture.encode()})), architecture)


async def push(root: RootClient, folder: Path, content: bytes) -> None:
    with image_archive.Archive(written(folder, content)) as archive:
        chosen = image_archive.choose(archive.contents(), "")
        await image_push.push(root, archive, chosen, lambda _: None)


async def applied(root: RootClient, code: dict[str, str]) -> ServiceSpec:
    one = service("Web", virtualization="container", cmd=[], oakctl={"code": code})
    del one["code"]
    await root.apply(ApplyRequest(application(one)))
    return (await root.service("ar.demo.Web.demo")).spec


def cluster(*platforms: str) -> ClusterState:
    workers = tuple(
        WorkerSummary(
            name, "ready", False,
            NodeFacts(name, "?", "Debian", "3.11", NOTHING, containers=ContainerFacts(platform=p)),
            Usage(), NOTHING, 0.0,
        )
        for name, p in ((f"w{n}", p) for n, p in enumerate(platforms))
    )  # fmt: skip
    aggregate = Aggregate("edge", 0.0, "rom", len(workers), NOTHING, NOTHING)
    return ClusterState("edge", "s", 1, 0.0, aggregate, workers=workers)


async def test_of_an_index_each_architecture_gets_its_own_image(
    stage: Stage, tmp_path: Path
) -> None:
    async with stage.root() as root:
        index = oci_layout([built("amd64"), built("arm64")], "local/ar:1", packed=False)
        await push(root, tmp_path, index)
        await push(root, tmp_path, docker_archive(built("riscv64"), "local/board:1"))
        spec = await applied(
            root, {"amd64": "local/ar:1", "arm64": "local/ar:1", "riscv64": "local/board:1"}
        )
        platforms = {
            one.architecture: [image.platform for image in one.images] for one in spec.codes
        }
        assert platforms == {
            "x86_64": ["linux/amd64"],
            "aarch64": ["linux/arm64"],
            "riscv64": ["linux/riscv64"],
        }
        assert set(spec.on("aarch64").blobs) < set(spec.blobs)
        used = {view.name: view.services for view in await root.images.all()}
        assert used == {
            "local/ar:1": ("ar.demo.Web.demo",),
            "local/board:1": ("ar.demo.Web.demo",),
        }
        with pytest.raises(Conflict):
            await root.images.remove("local/board:1")
        assert fits(spec, cluster("linux/arm64"))
        assert not fits(spec, cluster("linux/386"))


async def test_an_architecture_that_was_not_pushed_is_a_reason_and_one_of_a_registry_is_not(
    stage: Stage, tmp_path: Path
) -> None:
    async with stage.root() as root:
        await push(root, tmp_path, docker_archive(built("amd64"), "local/ar:1"))
        spec = await applied(
            root, {"amd64": "local/ar:1", "arm64": "local/ar:1", "riscv64": "ghcr.io/me/ar:1"}
        )
        by_architecture = {one.architecture: one for one in spec.codes}
        # It is for amd64 alone, and the scheduler says that of workers with arm64.
        assert [one.platform for one in by_architecture["aarch64"].images] == ["linux/amd64"]
        assert by_architecture["riscv64"].images == ()
        assert fits(spec, cluster("linux/386"))
