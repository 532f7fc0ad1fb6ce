"""Images out of a real Docker on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl import paths
from oakctl.client import image_source
from oakctl.client.image_archive import Archive, choose
from oakctl.errors import NotFound, Unreachable, UsageError
from tests.worker.docker_engine import IMAGE, DockerEngine, engine

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    with engine() as made:
        yield made


async def saved(given: str) -> Path:
    async with image_source.archive(given, lambda _: None) as path:
        with Archive(path) as archive:
            found = choose(archive.contents(), given)
            assert found.name == given
            assert found.images[0].layers
        return path


async def test_an_image_is_saved_and_the_file_goes(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    path = await saved(IMAGE)
    assert not path.exists()
    with pytest.raises(NotFound, match="Docker on this machine has no image nothing:1"):
        await saved("nothing:1")
    assert list((paths.cache_directory() / "images").iterdir()) == []


@pytest.mark.usefixtures("docker_engine")  # it brings Docker's own program
async def test_a_docker_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(Unreachable, match="does not answer"):
        await saved("web:1")
    with pytest.raises(UsageError, match="neither a file nor the name"):
        await saved("--help")
