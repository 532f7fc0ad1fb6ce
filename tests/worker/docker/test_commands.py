"""Commands inside containers end in time, on a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from oakctl.orchestration.worker import procfs
from oakctl.orchestration.worker.docker.commands import Commands
from oakctl.orchestration.worker.docker.driver import Driver
from oakctl.orchestration.worker.docker.engine import Command, Engine
from oakctl.orchestration.worker.docker.seen import Seen
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.stage import until

pytestmark = [pytest.mark.slow]
FAMILY = ("/bin/sh", "-c", "sleep 600 & sleep 600")


@pytest.fixture
def sleeper(docker_engine: DockerEngine, driver: Driver) -> Iterator[Seen]:
    client = docker_engine.client
    made = client.create_container(IMAGE, ["sleep", "600"])
    client.start(made["Id"])
    assert driver.engine is not None
    found = driver.engine.inspect(made["Id"])
    assert found is not None
    yield found
    client.remove_container(made["Id"], force=True)


def engine_of(driver: Driver) -> Engine:
    assert driver.engine is not None
    return driver.engine


async def test_exit_codes(driver: Driver, sleeper: Seen) -> None:
    commands = Commands(driver.calls)
    for code in (0, 7):
        argv = ("/bin/sh", "-c", f"exit {code}")
        assert await commands.run(engine_of(driver), sleeper, argv, 30.0) == code


async def test_one_that_hangs_is_ended_with_what_it_started(driver: Driver, sleeper: Seen) -> None:
    commands = Commands(driver.calls)
    for _ in range(3):
        assert await commands.run(engine_of(driver), sleeper, FAMILY, 0.3) is None
    alone = lambda: procfs.group_members(sleeper.pid) == {sleeper.pid}  # noqa: E731
    await until(alone, "all that was started in it to be gone")
    assert await commands.run(engine_of(driver), sleeper, ("/bin/sh", "-c", ":"), 30.0) == 0


async def test_whoever_stops_waiting_ends_it(driver: Driver, sleeper: Seen) -> None:
    commands = Commands(driver.calls)
    waiting = asyncio.ensure_future(commands.run(engine_of(driver), sleeper, FAMILY, 600.0))
    await until(lambda: len(procfs.group_members(sleeper.pid)) == 3, "the command to run")
    await until(lambda: commands.known(sleeper.id).pid, "its number to be known")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: procfs.group_members(sleeper.pid) == {sleeper.pid}, "it to be gone")


async def test_one_that_may_not_be_ended_keeps_others_away(
    driver: Driver, sleeper: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr("os.killpg", forbidden)
    commands = Commands(driver.calls)
    for _ in range(3):
        assert await commands.run(engine_of(driver), sleeper, FAMILY, 0.3) is None
    assert len(procfs.group_members(sleeper.pid)) == 3, "one family, and who lives there"


async def test_one_that_docker_has_forgotten_has_ended(driver: Driver) -> None:
    assert engine_of(driver).command("0" * 64) == Command(runs=False)
