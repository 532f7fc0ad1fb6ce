"""Nodes without a Docker that can be used: what they say, and what becomes of instances."""

from __future__ import annotations

import contextlib
import socketserver
from collections.abc import Iterator
from pathlib import Path

import pytest

from oakctl.model.config import WorkerConfig
from oakctl.model.instance import InstanceState
from oakctl.orchestration.worker import containers
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway
from tests.bus_fixture import Bus
from tests.worker.docker.false_docker import FalseDocker, served
from tests.worker.stage import AgentProcess, Orchestrator, desired, spec, until

NAME = "app.ns.srv.ns.instance.0"


class Answers(FalseDocker):
    """Says that it is an old Docker."""

    def do_GET(self) -> None:
        version = {"Version": "18.06.3-ce", "ApiVersion": "1.38", "Arch": "amd64", "Os": "linux"}
        self.answer(version if self.path.endswith("/version") else {})


@pytest.fixture
def old_docker(tmp_path: Path) -> Iterator[Path]:
    """A socket at which one answers."""
    with served(tmp_path, Answers) as socket:
        yield socket


def agent_with(bus: Bus, folder: Path, socket: Path) -> AgentProcess:
    return AgentProcess.create(bus, folder, docker_socket=str(socket))


async def reason_of(orchestrator: Orchestrator, part: str) -> str:
    def told() -> bool:
        return bool(orchestrator.greetings) and (
            part in orchestrator.greetings[-1].facts.containers.reason
        )

    await until(told, f"the facts to say {part!r}")
    facts = orchestrator.greetings[-1].facts
    assert facts.runtimes == ("process",)
    return facts.containers.reason


async def test_no_socket_at_all(bus: Bus, orchestrator: Orchestrator, tmp_path: Path) -> None:
    socket = tmp_path / "none.sock"
    agent = agent_with(bus, tmp_path / "host", socket)
    with contextlib.closing(_Ending(agent)):
        agent.start()
        await orchestrator.want(desired(spec("web:1", virtualization="container")))
        assert await reason_of(orchestrator, "no Docker") == f"there is no Docker here: no {socket}"
        seen = await orchestrator.reaches(NAME, InstanceState.CREATING)
        await until(lambda: (orchestrator.seen(NAME) or seen).reason, "the reason")
        seen = await orchestrator.reaches(NAME, InstanceState.CREATING)
        assert "there is no Docker here" in seen.reason
        await orchestrator.want()
        await until(lambda: orchestrator.reports[-1].instances == (), "it to be forgotten")


async def test_a_socket_where_nobody_listens(
    bus: Bus, orchestrator: Orchestrator, tmp_path: Path
) -> None:
    socket = tmp_path / "dead.sock"
    with socketserver.UnixStreamServer(str(socket), Answers):
        pass
    agent = agent_with(bus, tmp_path / "host", socket)
    with contextlib.closing(_Ending(agent)):
        agent.start()
        await reason_of(orchestrator, f"Docker is stopped: nobody listens at {socket}")


async def test_a_docker_that_is_too_old(
    bus: Bus, orchestrator: Orchestrator, tmp_path: Path, old_docker: Path
) -> None:
    agent = agent_with(bus, tmp_path / "host", old_docker)
    with contextlib.closing(_Ending(agent)):
        agent.start()
        await reason_of(orchestrator, "Docker 18.06.3-ce is too old: it has API 1.38")


def test_a_socket_that_is_no_docker(tmp_path: Path) -> None:
    with pytest.raises(EngineAway, match="Docker is stopped"):
        Engine(str(tmp_path / "nothing"))


def test_which_socket_is_looked_at() -> None:
    from tests.worker.test_small_parts import CONFIG

    def config(**changes: object) -> WorkerConfig:
        return WorkerConfig(**{**vars(CONFIG), **changes})  # type: ignore[arg-type]

    assert containers.socket_of(config(overlay_driver="host")) == containers.USUAL_SOCKET
    assert containers.socket_of(config()) == ""
    assert containers.socket_of(config(docker_socket="/x")) == "/x"


class _Ending:
    """Ends an agent where a block ends."""

    def __init__(self, agent: AgentProcess) -> None:
        self._agent = agent

    def close(self) -> None:
        self._agent.destroy()
