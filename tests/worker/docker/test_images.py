"""Images: pulled from a real registry protocol by a real engine, kept and taken away."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from oakctl.model import wire
from oakctl.orchestration.worker import storage
from oakctl.orchestration.worker.docker import effort
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.housekeeping import Ledger
from oakctl.orchestration.worker.docker.images import Images
from oakctl.orchestration.worker.needs import IMAGE, Need
from tests.worker.docker_engine import IMAGE as BUSYBOX
from tests.worker.docker_engine import DockerEngine
from tests.worker.image_registry import ImageRegistry, registry
from tests.worker.stage import until

pytestmark = [pytest.mark.slow]


@pytest.fixture
def images_of() -> Iterator[ImageRegistry]:
    with registry() as made:
        yield made


@pytest.fixture
async def images(driver: Driver, tmp_path: Path) -> AsyncIterator[Images]:
    made = Images(driver, tmp_path / "images.json", lambda: None, keep_s=100.0)
    yield made
    await made.close()


def here(docker_engine: DockerEngine, reference: str) -> Callable[[], bool]:
    client = docker_engine.client
    return lambda: bool(client.images(name=reference))


async def test_missing_is_pulled_once_with_progress(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine
) -> None:
    need = Need(IMAGE, images_of.put("web", "1", {"a": "b"}, layers=3))
    images_of.go.clear()
    images.fetch(need)
    images.fetch(need)
    await until(lambda: 0.0 < images.status(need).progress < 1.0, "progress to be seen")
    assert need not in images.present
    images_of.go.set()
    await until(lambda: need in images.present, "the image to come")
    assert images.status(need).progress == 1.0
    assert images.id(need).startswith("sha256:")
    pulls = len(images_of.served)
    again = Need(IMAGE, need.name, whose="another")
    images.fetch(again)
    await until(lambda: again in images.present, "it to be found")
    assert len(images_of.served) == pulls


async def test_always_asks_the_registry_each_time(images: Images, images_of: ImageRegistry) -> None:
    reference = images_of.put("web", "always", {"a": "1"})
    first = Need(IMAGE, reference, "always", "one")
    images.fetch(first)
    await until(lambda: first in images.present, "the image to come")
    images_of.put("web", "always", {"a": "2"})
    second = Need(IMAGE, reference, "always", "two")
    images.fetch(second)
    await until(lambda: second in images.present, "the newer image to come")
    assert images.id(first) != images.id(second)


async def test_what_a_newer_one_has_taken_the_name_of_goes_too(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine
) -> None:
    ids = []
    for whose in ("one", "two", "three"):
        reference = images_of.put("web", "newer", {"a": whose})
        need = Need(IMAGE, reference, "always", whose)
        images.fetch(need)
        await until(lambda need=need: need in images.present, "the image to come")
        ids.append(images.id(need))
    client = docker_engine.client
    client.tag(ids[1], "somebodys/own", "1")
    for at in (0.0, 1000.0):
        await images.tidy({reference}, time.time() + at)
    left = {one["Id"] for one in client.images(all=True)} & set(ids)
    assert left == set(ids[1:]), "the first one goes, the second has a name of somebody's"
    client.remove_image("somebodys/own:1")


async def test_what_we_brought_under_somebodys_name_goes_and_the_name_stays(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine
) -> None:
    client = docker_engine.client
    client.pull(images_of.put("their", "1", {"a": "theirs"}))
    ids = []
    for whose in ("one", "two"):
        need = Need(IMAGE, images_of.put("their", "1", {"a": whose}), "always", whose)
        images.fetch(need)
        await until(lambda need=need: need in images.present, "the image to come")
        ids.append(images.id(need))
    for at in (0.0, 1000.0):
        await images.tidy(set(), time.time() + at)
    assert ids[0] not in {one["Id"] for one in client.images(all=True)}
    assert client.inspect_image(need.name)["Id"] == ids[1]


async def test_signs_of_life_while_nothing_moves(
    images: Images, images_of: ImageRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "SIGN_EVERY_S", 0.05)
    need = Need(IMAGE, images_of.put("still", "1", {"a": "b"}))
    images_of.go.clear()
    images.fetch(need)
    await until(lambda: images.status(need).signs > 5, "signs of life")
    images_of.go.set()
    await until(lambda: need in images.present, "the image to come")


async def test_a_pull_that_nobody_wants_any_more_ends(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine
) -> None:
    need = Need(IMAGE, images_of.put("unwanted", "1", {"a": "b"}, layers=4))
    images_of.go.clear()
    images.fetch(need)
    await until(lambda: images.status(need).progress > 0.0, "the pull to be under way")
    images.keep_only(set(), time.time())
    images_of.go.set()
    gone = lambda: not [t for t in threading.enumerate() if "pulling" in t.name]  # noqa: E731
    await until(gone, "the pull to end")


async def test_never_finds_and_does_not_pull(images: Images, images_of: ImageRegistry) -> None:
    found, absent = Need(IMAGE, BUSYBOX, "never"), Need(IMAGE, images_of.put("n", "1", {}), "never")
    images.fetch(found)
    images.fetch(absent)
    await until(lambda: found in images.present, "the image to be found")
    await until(lambda: images.status(absent).problem, "the reason")
    assert "`pull: never`" in images.status(absent).problem
    assert images_of.served == []


async def test_what_the_registry_has_not_comes_when_it_has(
    images: Images, images_of: ImageRegistry
) -> None:
    need = Need(IMAGE, f"{images_of.address}/late:1")
    images.fetch(need)
    await until(lambda: images.status(need).problem, "the reason")
    assert "the registry has no such image" in images.status(need).problem
    images_of.put("late", "1", {"a": "b"})
    await until(lambda: need in images.present, "it to be tried again")


@pytest.mark.parametrize(
    ("status", "reason", "remedy"),
    [
        (401, "the registry refuses it: it is private, or is not there", "oakctl secret set"),
        (403, "the registry refuses it: it is private, or is not there", "oakctl secret set"),
        (429, "the registry allows no more pulls for now", ""),
    ],
)
async def test_a_registry_that_refuses_is_asked_again_later(
    images: Images, images_of: ImageRegistry, status: int, reason: str, remedy: str
) -> None:
    images_of.refuses = status
    need = Need(IMAGE, images_of.put("private", "1", {"a": "b"}))
    images.fetch(need)
    await until(lambda: images.status(need).problem, "the reason")
    said = images.status(need).problem
    assert said.startswith(f"image {need.name}: {reason}")
    assert remedy in said
    images_of.refuses = 0
    await until(lambda: need in images.present, "it to be tried again")


async def test_only_what_we_brought_goes_and_by_age(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    need = Need(IMAGE, images_of.put("old", "1", {"a": "b"}))
    images.fetch(need)
    found = Need(IMAGE, BUSYBOX, "missing")
    images.fetch(found)
    await until(lambda: {need, found} <= images.present, "both to be there")
    now = time.time()
    await images.tidy({need.name, BUSYBOX}, now)
    await images.tidy(set(), now + 50)
    assert here(docker_engine, need.name)()
    await images.tidy(set(), now + 151)
    assert not here(docker_engine, need.name)()
    assert here(docker_engine, BUSYBOX)()
    assert storage.read_message(tmp_path / "images.json", Ledger) == Ledger()


async def test_what_a_container_uses_or_somebody_renamed_stays(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    client = docker_engine.client
    used = Need(IMAGE, images_of.put("used", "1", {"a": "b"}))
    renamed = Need(IMAGE, images_of.put("renamed", "1", {"a": "c"}))
    for need in (used, renamed):
        images.fetch(need)
    await until(lambda: {used, renamed} <= images.present, "both to be there")
    made = client.create_container(used.name, ["x"])
    repository, _, tag = renamed.name.rpartition(":")
    client.tag(BUSYBOX, repository, tag, force=True)
    now = time.time()
    await images.tidy(set(), now)
    await images.tidy(set(), now + 200)
    assert here(docker_engine, used.name)()
    assert client.inspect_image(renamed.name)["Id"] == client.inspect_image(BUSYBOX)["Id"]
    ledger = wire.decode((tmp_path / "images.json").read_bytes(), Ledger)
    assert [image.reference for image in ledger.images] == [used.name]
    client.remove_container(made["Id"])
    await images.tidy(set(), now + 300)
    assert not here(docker_engine, used.name)()


async def test_a_name_that_was_there_before_us_is_never_ours(
    images: Images, images_of: ImageRegistry, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    reference = images_of.put("theirs", "1", {"a": "b"})
    docker_engine.client.pull(reference)
    images_of.put("theirs", "1", {"a": "newer"})
    need = Need(IMAGE, reference, "always", "x")
    images.fetch(need)
    await until(lambda: need in images.present, "the newer image")
    await images.tidy(set(), 1e9)
    await images.tidy(set(), 2e9)
    assert here(docker_engine, reference)()
