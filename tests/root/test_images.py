"""Pushed images: what is sent, what services get of them, and what goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oakctl import paths
from oakctl.client import image_archive, image_push
from oakctl.client.image_push import Pushed
from oakctl.client.root import RootClient
from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model.images import Layer, PlatformImage
from oakctl.model.messages import Aggregate, ClusterState, WorkerSummary
from oakctl.model.node import ContainerFacts, NodeFacts, Usage
from oakctl.model.requests import ApplyRequest, ImagePush
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.root.images import fits
from tests.image_files import (
    ARCHITECTURE,
    Built,
    docker_archive,
    filler,
    layer,
    written,
)
from tests.root.descriptor import application, service
from tests.root.stage import Stage, populate, until

BASE = (filler(1, 900_000), filler(2))  # the first is more than one piece
ONE = Built((*BASE, layer({"version": b"1"})))
TWO = Built((*BASE, layer({"version": b"2"})))
OTHER = Built((*BASE, layer({"version": b"1"}), filler(3)), "riscv64")


async def push(client: RootClient, folder: Path, content: bytes, name: str = "") -> Pushed:
    with image_archive.Archive(written(folder, content)) as archive:
        chosen = image_archive.choose(archive.contents(), name)
        return await image_push.push(client, archive, chosen, lambda _: None)


def container(name: str, code: str, **more: Any) -> dict[str, Any]:
    return service(name, virtualization="container", code=code, cmd=[], **more)


def blobs() -> set[str]:
    return {file.name for file in (paths.state_directory() / "artifacts").iterdir()}


async def test_a_second_push_sends_the_changed_layer_alone(stage: Stage, tmp_path: Path) -> None:
    async with stage.root() as root:
        first = await push(root, tmp_path, docker_archive(ONE, "local/ar:1"))
        assert (first.layers, first.sent_layers) == (3, 3)
        assert first.sent_bytes > 1_000_000
        (image,) = first.image.images
        assert image.platform == f"linux/{ARCHITECTURE}"
        second = await push(root, tmp_path, docker_archive(TWO, "local/ar:1"))
        assert (second.layers, second.sent_layers) == (3, 1)
        assert second.sent_bytes < 2_000
        assert blobs() == set(second.image.images[0].blobs)  # nobody needs the older one
        assert await root.images.all() == (second.image,)
        removed = await root.images.remove("docker.io/local/ar:1")
        assert removed.name == "local/ar:1"
        assert blobs() == set()
        with pytest.raises(NotFound, match="no image local/ar:1 was pushed"):
            await root.images.remove("local/ar:1")


async def test_services_get_the_pushed_image_and_keep_it(stage: Stage, tmp_path: Path) -> None:
    async with stage.root() as root:
        pushed = await push(root, tmp_path, docker_archive(ONE, "ar:latest"))
        await root.apply(
            ApplyRequest(
                application(
                    container("Own", "docker.io/library/ar"),
                    container("Always", "ar", oakctl={"pull": "always"}),
                    container("Foreign", "nginx:1"),
                )
            )
        )
        own, always, foreign = [await root.service(name) for name in ("Own", "Always", "Foreign")]
        assert own.spec.images == pushed.image.images
        assert always.spec.images == foreign.spec.images == ()
        (view,) = await root.images.all()
        assert view.services == (own.job_name,)
        with pytest.raises(Conflict, match=r"is used by ar\.demo\.Own"):
            await root.images.remove("ar")
        # A newer one of the name: what runs the older keeps it, as long as that is there.
        newer = await push(root, tmp_path, docker_archive(TWO, "ar:latest"))
        assert set(pushed.image.images[0].blobs) <= blobs()
        await root.delete_application("ar")
        await until("the application to be gone", root.applications, lambda found: not found)
        await until("its blobs to be gone", left, lambda b: b == set(newer.image.images[0].blobs))
        (known,) = await root.images.all()
        assert known.services == ()


async def left() -> set[str]:
    return blobs()


async def test_a_root_that_starts_deletes_what_an_earlier_one_did_not(
    stage: Stage, tmp_path: Path
) -> None:
    """One that was killed while it took something in, or between forgetting and deleting."""
    async with stage.root() as root:
        pushed = await push(root, tmp_path, docker_archive(ONE, "ar:1"))
    for name in (f".{'b' * 64}.1.2", "c" * 64):
        (paths.state_directory() / "artifacts" / name).write_bytes(b"half")
    async with stage.root() as root:
        assert blobs() == set(pushed.image.images[0].blobs)
        assert await root.images.all() == (pushed.image,)


async def test_it_goes_to_a_cluster_once_and_tells_how_far_it_is(
    stage: Stage, tmp_path: Path
) -> None:
    edge = await stage.cluster("edge")
    async with stage.root() as root:
        await populate(root, "edge")
        first = await push(root, tmp_path, docker_archive(ONE, "ar:1"))
        told = [one async for one in root.images.send("ar:1", "edge")]
        size = sum(image.size for image in first.image.images)
        assert told[-1].ended
        assert (told[-1].there, told[-1].size, told[-1].sent) == (size, size, size)
        assert edge.complete == set(first.image.images[0].blobs)
        again = [one async for one in root.images.send("ar:1", "edge")]
        assert again[-1].sent == 0
        second = await push(root, tmp_path, docker_archive(TWO, "ar:2"))
        newer = [one async for one in root.images.send("ar:2", "edge")]
        assert newer[-1].sent == second.sent_bytes
        with pytest.raises(NotFound, match="no image ar:3 was pushed"):
            [_ async for _ in root.images.send("ar:3", "edge")]


def test_nothing_is_sent_where_no_worker_can_run_it() -> None:
    sha = "a" * 64
    image = PlatformImage("linux/arm64", sha, 10, (Layer(sha, 5, sha),))
    spec = ServiceSpec("a.b.c.d", "a.b", "container", "ar:1")

    def cluster(*platforms: str) -> ClusterState:
        workers = tuple(
            WorkerSummary(f"w{n}", "ready", False, _facts(one), Usage(), Resources(), 0.0)
            for n, one in enumerate(platforms)
        )
        return ClusterState(
            "edge",
            "s",
            1,
            0.0,
            Aggregate("edge", 0.0, "rom", 1, Resources(), Resources()),
            workers=workers,
        )

    pushed = replace(spec, images=(image,))
    assert fits(spec, cluster("linux/amd64"))
    assert fits(pushed, None)  # not heard of yet: the cluster decides
    assert fits(pushed, cluster("linux/amd64", "linux/arm64"))
    assert not fits(pushed, cluster("linux/amd64", ""))


def _facts(platform: str) -> NodeFacts:
    containers = ContainerFacts("Docker", platform=platform)
    return NodeFacts("h", "x86_64", "Debian", "3.11", Resources(), containers=containers)


async def test_what_is_no_image_is_refused(stage: Stage) -> None:
    sha = "a" * 64
    good = PlatformImage("linux/amd64", sha, 10, (Layer(sha, 5, sha),))
    bad = {
        "ar 1": (good,),
        "": (good,),
        "a:1": (),
        "b:1": (good, good),
        "c:1": (PlatformImage("../x", sha, 10, good.layers),),
        "d:1": (PlatformImage("linux/amd64", "../etc/passwd", 10, good.layers),),
        "e:1": (PlatformImage("linux/amd64", sha, 10, ()),),
        "f:1": (PlatformImage("linux/amd64", sha, 10, (Layer(sha, 0, sha),)),),
    }
    async with stage.root() as root:
        for name, images in bad.items():
            with pytest.raises(UsageError):
                await root.images.put(ImagePush(name, images))
        with pytest.raises(NotFound, match="was not uploaded"):
            await root.images.put(ImagePush("ar:1", (good,)))
        assert await root.images.all() == ()
