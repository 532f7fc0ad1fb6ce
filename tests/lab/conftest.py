"""Hosts and an operator for the tests of real machines.

One lab for all tests of this folder; each test asks for the hosts that it needs and gets them
bare. The operator's home is new in each test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.fleet_hosts import FleetHosts
from tests.lab.operator_tool import Operator
from tests.lab.places import places


@pytest.fixture(scope="package")
def lab_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the lab keeps its files; only its base images are in the user's cache."""
    directory = tmp_path_factory.mktemp("lab")
    with places(directory):
        yield directory


@pytest.fixture(autouse=True)
def own_directories(lab_directories: Path) -> Path:
    """In place of directories for each test: the lab is one for all of them."""
    return lab_directories


@pytest.fixture(scope="package")
def hosts(lab_directories: Path) -> Iterator[FleetHosts]:
    """The lab, up; `hosts.bare("orch")` gives hosts."""
    fleet = FleetHosts()
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.down()


@pytest.fixture
def operator_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What operators can make again: one for all of a test, so that archives are built once."""
    return tmp_path_factory.mktemp("operator-cache")


@pytest.fixture
def new_operator(
    tmp_path_factory: pytest.TempPathFactory, operator_cache: Path
) -> Iterator[Callable[[], Operator]]:
    """Makes people who have never run oakctl; all that they started is gone afterwards."""
    people: list[Operator] = []

    def make() -> Operator:
        people.append(Operator(tmp_path_factory.mktemp("operator"), operator_cache))
        return people[-1]

    try:
        yield make
    finally:
        for person in people:
            person.kill()


@pytest.fixture
def operator(new_operator: Callable[[], Operator]) -> Operator:
    """Someone who has never run oakctl."""
    return new_operator()
