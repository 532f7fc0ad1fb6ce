"""SIGKILL to root, agent, orchestrator, bus, relay and keeper at random moments of a change.

What was acknowledged is in effect afterwards; what ran still runs, as the same processes; no
instance is lost or doubled. The seed is printed; OAKCTL_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from oakctl.client import artifact
from oakctl.client.process import ensure_root, running_root
from oakctl.client.root import RootClient
from oakctl.errors import NotFound, OakError
from oakctl.lab import loopback
from oakctl.lab.loopback import Lab
from oakctl.model.instance import InstanceState
from oakctl.model.requests import ApplyRequest
from oakctl.paths import cache_directory
from tests.chain.fleet import HOSTS, commands, fleet, processes_with, until

VICTIMS = ("root", "agent", "orchestrator", "bus")
REPLICAS = 3

DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: {name}
    application_namespace: kill
    microservices:
      - microservice_name: Sleeper
        microservice_namespace: kill
        virtualization: process
        code: ./app
        memory: 16
        oakctl: {{vcpus: 0.05, replicas: {replicas}}}
"""


def pack_sleeper(folder: Path) -> Path:
    """An artifact whose only work is to stay."""
    app = folder / "app"
    app.mkdir()
    (app / "oakctl-artifact.toml").write_text('name = "sleeper"\ncommand = ["sleep", "100000"]\n')
    return artifact.pack(app, cache_directory()).path


def instance_processes(lab: Lab) -> dict[str, set[int]]:
    """Instance name → the processes that run its command."""
    found: dict[str, set[int]] = {}
    candidates = {
        pid: environment
        for pid, environment in processes_with(OAKCTL_LAB=lab.id).items()
        if "OAKCTL_INSTANCE" in environment
    }
    for pid, arguments in commands(candidates).items():
        if arguments[:1] and Path(arguments[0]).name == "sleep":
            found.setdefault(candidates[pid]["OAKCTL_INSTANCE"], set()).add(pid)
    return found


def victim_processes(victim: str, lab: Lab) -> list[int]:
    """The processes of one kind; of the agents, all of them."""
    mine = processes_with(OAKCTL_LAB=lab.id)
    wanted = {"agent": "worker", "orchestrator": "cluster", "relay": "relay"}
    found = []
    for pid, arguments in commands(mine).items():
        is_bus = arguments[:1] and Path(arguments[0]).name == "nats-server"
        is_node = len(arguments) > 2 and wanted.get(victim) in arguments[1:4]
        is_keeper = "oakctl.lab.keeper" in arguments
        if (
            (victim == "bus" and is_bus)
            or (victim == "keeper" and is_keeper)
            or (victim in wanted and is_node)
        ):
            found.append(pid)
    return found


async def strike(victim: str, lab: Lab, rng: random.Random) -> None:
    """Kill one process of the kind `victim`."""
    if victim == "root":
        status = await running_root()
        assert status is not None
        os.kill(status.pid, signal.SIGKILL)
        return
    pids = victim_processes(victim, lab)
    assert pids, f"no {victim} to kill"
    os.kill(rng.choice(sorted(pids)), signal.SIGKILL)


async def settled(lab: Lab, root: RootClient, expected: dict[str, int]) -> bool:
    """Whether exactly the instances of `expected` (application → count) run, once each."""
    views = await root.instances()
    counted = Counter(
        view.job_name.split(".")[0] for view in views if view.state is InstanceState.RUNNING
    )
    if dict(counted) != expected or len(views) != sum(expected.values()):
        return False
    running = instance_processes(lab)
    return set(running) == {view.name for view in views} and all(
        len(pids) == 1 for pids in running.values()
    )


async def apply_acknowledged(sha256: str, name: str) -> bool:
    """Apply, and tell whether the root said that it is durable."""
    try:
        async with RootClient() as root:
            descriptor = DESCRIPTOR.format(name=name, replicas=REPLICAS)
            await root.apply(ApplyRequest(descriptor, {"./app": sha256}))
    except OakError:
        return False
    return True


async def one_round(
    lab: Lab, sha256: str, name: str, rng: random.Random, steady: dict[str, set[int]]
) -> None:
    """Deploy `name`, kill something meanwhile, and check what must hold afterwards."""
    victim = rng.choice(VICTIMS)
    deploy = asyncio.create_task(apply_acknowledged(sha256, name))
    await asyncio.sleep(rng.uniform(0.0, 1.2))  # the moment is what varies
    await strike(victim, lab, rng)
    acknowledged = await deploy
    sys.stderr.write(f"{name}: {victim} killed, the deploy was acknowledged: {acknowledged}\n")
    await ensure_root(keep=True)
    async with RootClient() as root:
        try:
            await root.application(name)
        except NotFound:
            assert not acknowledged, f"{victim}: an acknowledged application is gone"
            assert await apply_acknowledged(sha256, name)
        expected = {"steady": REPLICAS, name: REPLICAS}
        await until(f"{expected} after kill of {victim}", lambda: settled(lab, root, expected))
        now = instance_processes(lab)
        for instance, pids in steady.items():
            assert now[instance] == pids, f"{victim}: {instance} did not stay the same process"
        await root.delete_application(name)
        await until("the deletion", lambda: settled(lab, root, {"steady": REPLICAS}))


async def strike_everything(lab: Lab) -> None:
    """Kill all that is ours at once, keeper first; the instances alone stay."""
    pids = [
        pid for victim in ("keeper", *VICTIMS[1:], "relay") for pid in victim_processes(victim, lab)
    ]
    status = await running_root()
    assert status is not None
    for pid in (*pids, status.pid):
        os.kill(pid, signal.SIGKILL)


async def back(lab: Lab) -> None:
    """What a user does afterwards: `lab up`, and any command that needs the root."""
    await loopback.up(lab.name, HOSTS, lambda line: None)
    await ensure_root(keep=True)


def changes(sha256: str) -> tuple[tuple[str, Callable[[RootClient], Awaitable[object]], int], ...]:
    """What is killed, in the middle of which change, and how many instances there are then."""
    apply = ApplyRequest(DESCRIPTOR.format(name="more", replicas=REPLICAS), {"./app": sha256})
    job = "more.kill.Sleeper.kill"
    return (
        ("everything", lambda root: root.apply(apply), REPLICAS),
        ("keeper", lambda root: root.scale(job, REPLICAS + 2), REPLICAS + 2),
        ("everything", lambda root: root.scale(job, 1), 1),
        ("relay", lambda root: root.scale(job, 2), 2),
        ("everything", lambda root: root.delete_application("more.kill"), 0),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_everything_at_once_during_each_change(tmp_path: Path) -> None:
    """In the middle of a deploy, a scale and a deletion: carried on, nothing lost or doubled."""
    rng = seeded()
    async with fleet() as (lab, root):
        sha256 = await root.upload_artifact(pack_sleeper(tmp_path))
        assert await apply_acknowledged(sha256, "steady")
        await until("the steady application", lambda: settled(lab, root, {"steady": REPLICAS}))
        steady = instance_processes(lab)
        for victim, change, count in changes(sha256):
            async with RootClient() as before:
                await change(before)  # acknowledged: from here on it is to come true
            await asyncio.sleep(rng.uniform(0.0, 0.8))  # the moment is what varies
            if victim == "everything":
                await strike_everything(lab)
            else:
                await strike(victim, lab, rng)
            await back(lab)
            expected = {"steady": REPLICAS} | ({"more": count} if count else {})
            async with RootClient() as after:
                await until(
                    f"{expected} after {victim}",
                    functools.partial(settled, lab, after, expected),
                )
            now = instance_processes(lab)
            assert {name: now[name] for name in steady} == steady, f"{victim}: not the same ones"


def seeded() -> random.Random:
    """The source of this run's moments; printed."""
    seed = int(os.environ.get("OAKCTL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    sys.stderr.write(f"\nseed: OAKCTL_SEED={seed}\n")
    return random.Random(seed)


async def run_rounds(rounds: int, folder: Path) -> None:
    rng = seeded()
    async with fleet() as (lab, root):
        sha256 = await root.upload_artifact(pack_sleeper(folder))
        assert await apply_acknowledged(sha256, "steady")
        await until("the steady application", lambda: settled(lab, root, {"steady": REPLICAS}))
        steady = instance_processes(lab)
        for number in range(rounds):
            await one_round(lab, sha256, f"round{number}", rng, steady)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_five_rounds(tmp_path: Path) -> None:
    await run_rounds(5, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_fifty_rounds(tmp_path: Path) -> None:
    await run_rounds(50, tmp_path)
