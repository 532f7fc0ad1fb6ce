"""One lab of real hosts for all of this folder; the last module takes it away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.lab.machines import lab as machines
from tests.lab.places import places
from tests.lab_machines.hosts.picture import picture
from tests.lab_machines.hosts.stage import NAME, PLAN, timed


@pytest.fixture(scope="package")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory and a home for the whole folder; the cache is the user's."""
    with places(tmp_path_factory.mktemp("machines")) as directory:
        yield directory


@pytest.fixture(autouse=True)
def own_directories(state: Path) -> Path:
    """In place of directories for each test: the lab is one for all of them."""
    return state


@pytest.fixture(scope="package")
def before(state: Path) -> dict[str, set[str]]:
    return picture()


@pytest.fixture(scope="package")
def lab(before: dict[str, set[str]]) -> Iterator[machines.Lab]:
    try:
        yield timed("up", lambda: asyncio.run(machines.up(NAME, PLAN, print)))
    finally:
        asyncio.run(machines.down(NAME, print))
