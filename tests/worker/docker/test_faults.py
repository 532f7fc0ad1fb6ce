"""What goes wrong with a real Docker Engine and with what it is asked for."""

from __future__ import annotations

import os
import signal

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.service import Port, RestartPolicy, ServiceSpec
from oakctl.orchestration.worker.docker.engine import Engine
from oakctl.orchestration.worker.docker.errors import EngineAway
from tests.bus_fixture import free_port
from tests.worker.docker.stage import (
    NAME,
    container,
    inspect,
    reason_is,
    running,
)
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.stage import AgentProcess, Orchestrator, desired, spec, until

pytestmark = [pytest.mark.slow]


async def test_docker_restarts_in_the_middle(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    docker_engine.stop()
    await until(
        lambda: "Docker is stopped" in orchestrator.greetings[-1].facts.containers.reason,
        "the facts to say so",
    )
    assert orchestrator.greetings[-1].facts.runtimes == ("process",)
    await orchestrator.reaches(NAME, InstanceState.CREATING)
    await reason_is(orchestrator, "Docker is stopped")
    docker_engine.start()
    await until(lambda: orchestrator.greetings[-1].facts.containers.engine, "Docker to be back")

    def again() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.state is InstanceState.RUNNING and seen.restarts == 1

    await until(again, "the instance to run again", 60)
    assert inspect(docker_engine)["State"]["Running"]


async def test_docker_killed_in_the_middle(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    docker_engine.stop(signal.SIGKILL)
    docker_engine.start()

    def again() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.state is InstanceState.RUNNING and seen.restarts == 1

    await until(again, "the instance to run again", 60)
    client = docker_engine.client
    assert len(client.containers(filters={"label": f"oakctl.instance={NAME}"})) == 1


def test_a_socket_that_is_forbidden(docker_engine: DockerEngine) -> None:
    """As for an agent whose user is not in Docker's group."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "it was let in"
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            Engine(str(docker_engine.socket))
        except EngineAway as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        said = stream.read()
    assert said == (
        f"Docker's socket {docker_engine.socket} is forbidden to the agent: "
        "its user is not in its group"
    )


async def test_removed_by_somebody_else(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container(restart=RestartPolicy(when="never")))
    docker_engine.client.remove_container(inspect(docker_engine)["Id"], force=True)
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason == "its container was removed, and not by the agent"


async def test_port_of_a_strangers_container(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    port = free_port()
    client = docker_engine.client
    host = client.create_host_config(port_bindings={80: ("127.0.0.1", port)})
    made = client.create_container(IMAGE, ["sleep", "600"], ports=[80], host_config=host)
    client.start(made["Id"])
    agent.start()
    await orchestrator.want(desired(container(ports=(Port(80, port),))))
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert f"port {port} of this node is taken" in seen.reason
    assert seen.blocked
    client.remove_container(made["Id"], force=True)
    await orchestrator.reaches(NAME, InstanceState.RUNNING)


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (container("/no/such/program"), "cannot run /no/such/program: it is not in the image"),
        (container("/data"), "cannot run /data: it is no program"),
        (container(""), "cannot run an empty name: it is not in the image"),
    ],
    ids=["absent", "a folder", "without a name"],
)
async def test_programs_that_cannot_run(
    agent: AgentProcess, orchestrator: Orchestrator, service: ServiceSpec, reason: str
) -> None:
    agent.start()
    await orchestrator.want(desired(service))
    assert (await orchestrator.reaches(NAME, InstanceState.FAILED)).reason == reason


@pytest.mark.parametrize(
    ("image", "pull", "reason"),
    [
        ("not-here:1", "never", "it is not on this node, and `pull: never`"),
        ("127.0.0.1:1/not-here:1", "missing", "the registry is not reached from this node"),
        ("not-here.invalid/x:1", "missing", "the registry's name is not found"),
        ("Not//A Name", "missing", "that is not the name of an image"),
    ],
)
async def test_images_that_do_not_come(
    agent: AgentProcess, orchestrator: Orchestrator, image: str, pull: str, reason: str
) -> None:
    agent.start()
    await orchestrator.want(desired(spec(image, virtualization="container", pull=pull)))
    await reason_is(orchestrator, reason)
    assert orchestrator.state(NAME) is InstanceState.CREATING


async def test_image_for_another_processor(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    docker_engine.load_image("oakctl-test:foreign", architecture="riscv64")
    agent.start()
    await orchestrator.want(
        desired(spec("oakctl-test:foreign", virtualization="container", pull="never"))
    )
    await reason_is(orchestrator, "it is for linux/riscv64, this node is linux/")
    assert docker_engine.client.containers(all=True) == []
