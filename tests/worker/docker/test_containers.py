"""Containers on a real Docker Engine, run by a real agent: their way, and adoption."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.service import RestartPolicy, Volume
from oakctl.node import __main__
from oakctl.orchestration.worker import clear, procfs
from tests.worker.docker.stage import (
    NAME,
    container,
    inspect,
    log_until,
    running,
    shell,
)
from tests.worker.docker_engine import IMAGE, DockerEngine
from tests.worker.stage import AgentProcess, Orchestrator, desired, until

pytestmark = [pytest.mark.slow]


async def test_the_way_of_a_container(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    facts = orchestrator.greetings[-1].facts
    assert facts.runtimes == ("process", "container")
    assert facts.containers.engine.startswith("Docker ")
    found = inspect(docker_engine)
    labels = found["Config"]["Labels"]
    assert labels["oakctl.epoch"] == "1"
    assert labels["oakctl.worker"] == "w1"
    assert labels["oakctl.prefix"] == str(agent.prefix)
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert await log_until(orchestrator, "up") == ["up"]
    await orchestrator.want()
    await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    await until(lambda: orchestrator.reports[-1].instances == (), "the end to be confirmed")
    await until(lambda: not docker_engine.client.containers(all=True), "the container to go")
    await until(lambda: not agent.instance(NAME).exists(), "the directory to be removed")


async def test_agent_killed_adopts_the_same_container_and_loses_no_output(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    count = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.02; done"
    pid = await running(agent, orchestrator, shell(count))
    before = inspect(docker_engine)["Id"]
    await log_until(orchestrator, "line 20")
    for _ in range(2):
        reports = len(orchestrator.reports)
        agent.kill()
        agent.start()
        await until(lambda n=reports: len(orchestrator.reports) > n, "a report of the new agent")
        seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
        assert (seen.pid, seen.restarts) == (pid, 0)
        told = [report.instances[0].state for report in orchestrator.reports[reports:]]
        assert set(told) == {InstanceState.RUNNING}, "never anything else, not for a moment"
    assert inspect(docker_engine)["Id"] == before
    said = await log_until(orchestrator, "line 200")
    assert said[:201] == [f"line {number}" for number in range(201)]


async def test_exit_code_while_the_agent_is_away(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    service = shell("trap 'echo last; exit 7' TERM; while :; do sleep 0.05; done", one_shot=True,
                    restart=RestartPolicy(when="never"))  # fmt: skip
    await running(agent, orchestrator, service)
    agent.kill()
    docker_engine.client.kill(inspect(docker_engine)["Id"], signal.SIGTERM)
    await until(lambda: inspect(docker_engine)["State"]["Status"] == "exited", "its end")
    agent.start()
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert (seen.exit_code, seen.reason) == (7, "ended with exit code 7")
    assert (await orchestrator.logs(NAME)).data == "last\n"


async def test_restarts_are_ours_and_back_off(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    agent.start()
    await orchestrator.want(desired(shell("echo once; exit 3")))

    def loops() -> bool:
        seen = orchestrator.seen(NAME)
        return seen is not None and seen.crash_looping

    await until(loops, "a crash loop to be shown", 60)
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.reason == "ended with exit code 3"
    said = (await orchestrator.logs(NAME)).data.splitlines()
    assert said[:5] == ["once"] * 5


async def test_one_shot(agent: AgentProcess, orchestrator: Orchestrator) -> None:
    agent.start()
    await orchestrator.want(desired(shell("echo done", one_shot=True)))
    seen = await orchestrator.reaches(NAME, InstanceState.COMPLETED)
    assert (seen.exit_code, seen.restarts) == (0, 0)
    assert (await orchestrator.logs(NAME)).data == "done\n"


async def test_deaf_to_sigterm_is_killed(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    service = shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done", grace_s=0.5)
    await running(agent, orchestrator, service)
    await log_until(orchestrator, "deaf")
    await orchestrator.want()
    seen = await orchestrator.reaches(NAME, InstanceState.UNDEPLOYED)
    assert seen.exit_code == 137


async def test_higher_epoch_replaces(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    first = inspect(docker_engine)["Id"]
    await orchestrator.want(desired(container(), epoch=2))
    await orchestrator.reaches(NAME, InstanceState.RUNNING, epoch=2)
    found = inspect(docker_engine)
    assert found["Id"] != first
    assert found["Config"]["Labels"]["oakctl.epoch"] == "2"


async def test_killed_at_random_moments_one_container_each(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    seed = int(os.environ.get("OAKCTL_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"seed {seed} (again with OAKCTL_SEED={seed})\n")
    moments = random.Random(seed)
    once = shell("echo ran >> /data/ran", name="once", one_shot=True,
                 volumes=(Volume(f"v{seed}", "/data"),))  # fmt: skip
    agent.start()
    for number in range(4):
        wanted = [*orchestrator.desired.instances, desired(container(), number)]
        await orchestrator.want(*wanted)
        await asyncio.sleep(moments.uniform(0.0, 1.5))
        agent.kill()
        agent.start()
    await orchestrator.want(*orchestrator.desired.instances, desired(once, 9))
    await asyncio.sleep(moments.uniform(0.0, 1.5))
    agent.kill()
    agent.start()
    client = docker_engine.client
    for one in orchestrator.desired.instances[:4]:
        seen = await orchestrator.reaches(one.name, InstanceState.RUNNING)
        found = client.containers(filters={"label": f"oakctl.instance={one.name}"})
        assert [client.inspect_container(c["Id"])["State"]["Pid"] for c in found] == [seen.pid]
    await orchestrator.reaches("app.ns.once.ns.instance.9", InstanceState.COMPLETED)
    client_of_volume = client.create_container(
        IMAGE, ["cat", "/data/ran"],
        host_config=client.create_host_config(binds=[f"oakctl.app.ns.v{seed}:/data"]),
    )  # fmt: skip
    client.start(client_of_volume["Id"])
    client.wait(client_of_volume["Id"])
    assert client.logs(client_of_volume["Id"]) == b"ran\n"


async def test_strays_of_ours_go_and_strangers_stay(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    client = docker_engine.client
    host = client.create_host_config()

    def make(labels: dict[str, str]) -> str:
        made = client.create_container(IMAGE, ["sleep", "600"], labels=labels, host_config=host)
        client.start(made["Id"])
        return str(made["Id"])

    ours = {"oakctl.prefix": str(agent.prefix), "oakctl.epoch": "1", "oakctl.attempt": "1"}
    stray = make({**ours, "oakctl.instance": "app.ns.gone.ns.instance.0"})
    stranger = make({})
    neighbour = make({**ours, "oakctl.prefix": "/another", "oakctl.instance": NAME})
    await running(agent, orchestrator, container())

    def ids() -> set[str]:
        return {one["Id"] for one in client.containers(all=True)}

    await until(lambda: stray not in ids(), "the stray to go")
    assert {stranger, neighbour} <= ids()


async def test_clear_does_not_leave_what_runs_while_docker_is_away(
    agent: AgentProcess,
    orchestrator: Orchestrator,
    docker_engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await running(agent, orchestrator, container())
    (agent.prefix / "etc").mkdir()
    shutil.copy(agent.prefix / "worker.json", agent.prefix / "etc/worker.json")
    agent.kill()
    pid = inspect(docker_engine)["State"]["Pid"]
    docker_engine.stop(signal.SIGKILL)
    assert procfs.stat_of(pid), "a dockerd that was killed leaves containers running"
    monkeypatch.setattr(clear, "DOCKER_S", 0.5)
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) != 0
    assert "containers of this worker may still run: Docker is stopped" in capsys.readouterr().err
    docker_engine.start()
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) == 0
    assert docker_engine.client.containers(all=True) == []


async def test_clear_takes_containers_along(
    agent: AgentProcess, orchestrator: Orchestrator, docker_engine: DockerEngine
) -> None:
    await running(agent, orchestrator, container())
    (agent.prefix / "etc").mkdir()
    shutil.copy(agent.prefix / "worker.json", agent.prefix / "etc/worker.json")
    stranger = docker_engine.client.create_container(IMAGE, ["sleep", "600"])["Id"]
    agent.kill()
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) == 0
    assert [one["Id"] for one in docker_engine.client.containers(all=True)] == [stranger]
