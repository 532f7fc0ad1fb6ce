"""Pushed images: from a cluster's blobs into a real engine, and only the layers that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from oakctl.model.images import Layer, PlatformImage
from oakctl.orchestration.worker.docker import layers
from oakctl.orchestration.worker.docker.blobs import Blobs
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.docker.pushed import PushedImages
from oakctl.orchestration.worker.fetching import Chunk, NotDelivered
from oakctl.orchestration.worker.needs import IMAGE, Need
from tests.image_files import ARCHITECTURE, Built, filler, layer, sha
from tests.worker.docker_engine import DockerEngine, busybox, engine
from tests.worker.stage import until

pytestmark = [pytest.mark.slow]


@cache
def base() -> tuple[bytes, ...]:
    """Layers with a program; asked for when an engine is there, which brings it."""
    return (layer({"bin/busybox": busybox().read_bytes()}), filler(1))


class Cluster:
    """Serves blobs, remembers what was asked for, and damages on demand."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sent = 0
        self.down = False
        self.damage = 0

    def push(self, *built: Built) -> tuple[PlatformImage, ...]:
        return tuple(map(self._push, built))

    def _push(self, built: Built) -> PlatformImage:
        packed = [gzip.compress(one, mtime=0) for one in built.layers]
        self.blobs |= {sha(one): one for one in (*packed, built.config)}
        stack = [Layer(sha(p), len(p), sha(o)) for p, o in zip(packed, built.layers, strict=True)]
        platform = f"linux/{built.architecture}"
        return PlatformImage(platform, sha(built.config), len(built.config), tuple(stack))

    async def chunk(self, sha256: str, offset: int, length: int) -> Chunk:
        if self.down:
            raise NotDelivered("the cluster does not answer")
        if sha256 not in self.asked:
            self.asked.append(sha256)
        whole = self.blobs[sha256]
        data = whole[offset : offset + length]
        if self.damage:
            self.damage -= 1
            data = bytes(len(data))
        self.sent += len(data)
        return Chunk(data, len(whole))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def images(driver: Driver, tmp_path: Path, cluster: Cluster) -> AsyncIterator[Images]:
    pushed = PushedImages(driver, Blobs(tmp_path / "blobs", cluster))
    made = Images(driver, tmp_path / "images.json", lambda: None, keep_s=100.0, pushed=pushed)
    yield made
    await made.close()


def need(pushed: tuple[PlatformImage, ...], name: str = "local/ar:1") -> Need:
    return Need(IMAGE, name, pushed=pushed)


async def brought(images: Images, wanted: Need) -> str:
    images.fetch(wanted)
    await until(lambda: wanted in images.present, "the image to be there")
    return images.id(wanted)


async def test_only_what_docker_lacks_is_fetched_and_it_runs(
    images: Images, cluster: Cluster, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    first = cluster.push(Built((*base(), layer({"version": b"1"}))))
    id_ = await brought(images, need(first))
    assert set(cluster.asked) == set(first[0].blobs)
    assert list((tmp_path / "blobs").iterdir()) == []
    cluster.asked.clear()
    second = cluster.push(Built((*base(), layer({"version": b"2"}))))
    newer = await brought(images, need(second))
    assert cluster.asked == [second[0].config, second[0].layers[2].sha256]
    assert newer != id_
    client = docker_engine.client
    made = client.create_container(newer, ["/bin/busybox", "cat", "/version"])
    client.start(made["Id"])
    assert client.wait(made["Id"])["StatusCode"] == 0
    assert client.logs(made["Id"]) == b"2"
    client.remove_container(made["Id"])


async def test_an_image_that_is_there_is_not_asked_for(images: Images, cluster: Cluster) -> None:
    pushed = cluster.push(Built((*base(), layer({"version": b"3"}))))
    await brought(images, need(pushed))
    cluster.asked.clear()
    await brought(images, need(pushed, "another/name:1"))
    assert cluster.asked == []


async def test_layers_that_go_in_between_are_fetched_after_all(
    images: Images, cluster: Cluster, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = cluster.push(Built((filler(11), layer({"version": b"4"}))))
    assert driver.engine is not None
    stale = ((sha(filler(11)),),)  # what the engine had a moment ago
    monkeypatch.setattr(driver.engine, "stacks", lambda: stale)
    await brought(images, need(pushed))
    assert set(cluster.asked) == set(pushed[0].blobs)


async def test_another_platform_is_a_reason_and_nothing_is_fetched(
    images: Images, cluster: Cluster
) -> None:
    wanted = need(cluster.push(Built(base(), "riscv64")))
    images.fetch(wanted)
    await until(lambda: images.status(wanted).problem, "the reason")
    assert "it was pushed for linux/riscv64, this node is linux/" in images.status(wanted).problem
    assert cluster.asked == []


async def test_the_node_s_platform_is_taken_of_several(images: Images, cluster: Cluster) -> None:
    pushed = cluster.push(Built(base(), "riscv64"), Built((*base(), layer({"v": b"5"}))))
    await brought(images, need(pushed))
    assert pushed[0].config not in cluster.asked
    assert ARCHITECTURE in pushed[1].platform


async def test_a_cluster_that_is_away_and_damage_on_the_way_are_outlived(
    images: Images, cluster: Cluster
) -> None:
    wanted = need(cluster.push(Built((filler(21, 1_200_000), layer({"version": b"6"})))))
    cluster.down = True
    images.fetch(wanted)
    await until(lambda: images.status(wanted).problem, "the reason")
    assert "the cluster does not answer" in images.status(wanted).problem
    cluster.damage = 2
    cluster.down = False
    await until(lambda: wanted in images.present, "the image to come after all")


async def test_a_disk_that_is_full_during_a_load(tmp_path: Path, cluster: Cluster) -> None:
    with engine(disk_mb=16) as small, contextlib.ExitStack() as ending:
        driver = Driver(str(small.socket), "/test", lambda: None)
        task = asyncio.ensure_future(driver.run())
        ending.callback(task.cancel)
        await until(lambda: driver.known, "Docker to answer")
        pushed = PushedImages(driver, Blobs(tmp_path / "blobs", cluster))
        images = Images(driver, tmp_path / "images.json", lambda: None, pushed=pushed)
        large = need(cluster.push(Built((*base(), filler(51, 20_000_000)))))
        images.fetch(large)
        await until(lambda: images.status(large).problem, "the reason")
        assert images.status(large).problem == f"image {large.name}: no space left on this node"
        images.keep_only(set(), time.time())
        little = need(cluster.push(Built((*base(), filler(52)))), "local/little:1")
        await brought(images, little)
        await images.close()


async def test_it_goes_when_nobody_wants_it_and_by_age(
    images: Images, cluster: Cluster, docker_engine: DockerEngine
) -> None:
    pushed = cluster.push(Built((filler(31), layer({"version": b"7"}))))
    wanted = need(pushed)
    await brought(images, wanted)
    name, now = layers.reference(pushed[0]), time.time()
    await images.tidy({name}, now)
    await images.tidy(set(), now)
    await images.tidy(set(), now + 50)
    assert docker_engine.client.images(name=name)
    await images.tidy(set(), now + 101)
    assert not docker_engine.client.images(name=name)


async def test_what_was_fetched_for_nobody_goes(
    images: Images, cluster: Cluster, tmp_path: Path
) -> None:
    wanted = need(cluster.push(Built((filler(41), layer({"version": b"8"})))))
    (tmp_path / "blobs" / f".fetch-{'a' * 64}").write_bytes(b"x")
    begun = tmp_path / "blobs" / f".fetch-{wanted.pushed[0].config}"
    begun.write_bytes(cluster.blobs[wanted.pushed[0].config][:10])
    images.keep_only({wanted}, time.time())
    assert list((tmp_path / "blobs").iterdir()) == [begun]
    await brought(images, wanted)
