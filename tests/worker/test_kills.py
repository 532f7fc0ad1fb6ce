"""kill -9 of the agent at random moments: nothing is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.service import RestartPolicy
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

# A second process of the same instance cannot take the lock, and leaves a file that says so.
ALONE = """
import fcntl, os, time
lock = open("lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    open("doubled", "w").close()
with open("started", "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    time.sleep(60)
"""
ENDS = "import sys\nopen('ran', 'a').write('x')\nsys.exit(5)\n"


@pytest.fixture
def moments() -> random.Random:
    """Random moments, the same again with OAKCTL_SEED."""
    seed = int(os.environ.get("OAKCTL_SEED") or random.randrange(1_000_000))
    sys.stdout.write(f"seed {seed} (again with OAKCTL_SEED={seed})\n")
    return random.Random(seed)


async def _kill_while_starting(
    agent: AgentProcess, orchestrator: Orchestrator, rounds: int, moments: random.Random
) -> None:
    sha, content = artifact(ALONE)
    orchestrator.artifacts[sha] = content
    agent.start()
    for number in range(rounds):
        wanted = [*orchestrator.desired.instances, desired(spec(sha), number)]
        await orchestrator.want(*wanted)
        for _ in range(moments.randrange(1, 3)):
            await asyncio.sleep(moments.uniform(0.0, 0.7))
            agent.kill()
            agent.start()
    for wanted_instance in orchestrator.desired.instances:
        name = wanted_instance.name
        seen = await orchestrator.reaches(name, InstanceState.RUNNING)
        work = agent.instance(name) / "work"
        started = work / "started"
        await until(started.exists, f"{name} to have started")
        assert not (work / "doubled").exists(), name
        assert started.read_text().split() == [str(seen.pid)], name
        assert agent.processes(name) == [seen.pid]
    assert len(agent.shims()) == rounds


async def test_killed_while_starting(
    agent: AgentProcess, orchestrator: Orchestrator, moments: random.Random
) -> None:
    await _kill_while_starting(agent, orchestrator, 5, moments)


@pytest.mark.soak
async def test_killed_while_starting_for_long(
    agent: AgentProcess, orchestrator: Orchestrator, moments: random.Random
) -> None:
    await _kill_while_starting(agent, orchestrator, 60, moments)


async def test_one_shot_runs_once_whenever_the_agent_is_killed(
    agent: AgentProcess, orchestrator: Orchestrator, moments: random.Random
) -> None:
    sha, content = artifact(ENDS)
    orchestrator.artifacts[sha] = content
    service = spec(sha, one_shot=True, restart=RestartPolicy(when="never"))
    agent.start()
    for number in range(4):
        await orchestrator.want(*orchestrator.desired.instances, desired(service, number))
        await asyncio.sleep(moments.uniform(0.0, 0.7))
        agent.kill()
        agent.start()
    for wanted in orchestrator.desired.instances:
        seen = await orchestrator.reaches(wanted.name, InstanceState.FAILED)
        assert seen.exit_code == 5
        assert (agent.instance(wanted.name) / "work" / "ran").read_text() == "x"


async def test_killed_while_stopping(
    agent: AgentProcess, orchestrator: Orchestrator, moments: random.Random
) -> None:
    sha, content = artifact(ALONE)
    orchestrator.artifacts[sha] = content
    agent.start()
    await orchestrator.want(*(desired(spec(sha), number) for number in range(4)))
    for wanted in orchestrator.desired.instances:
        await orchestrator.reaches(wanted.name, InstanceState.RUNNING)
    while orchestrator.desired.instances:
        await orchestrator.want(*orchestrator.desired.instances[1:])
        await asyncio.sleep(moments.uniform(0.0, 0.7))
        agent.kill()
        agent.start()
    await until(lambda: orchestrator.reports[-1].instances == (), "all to be forgotten")
    assert agent.processes() == []
    assert agent.shims() == []
    assert list((agent.prefix / "instances").iterdir()) == []
