"""SIGKILL of orchestrator and bus at random moments: what was acknowledged is there afterwards.

A killed process leaves the page cache, so this says nothing about a power cut.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.service import ServiceSpec
from tests.cluster.rig import Rig, facts, spec, until

ROUNDS = 5
SOAK_ROUNDS = 50
SERVICES = 4


@pytest.mark.slow
async def test_every_acknowledged_command_survives_kills(rig: Rig) -> None:
    await _kill_rounds(rig, ROUNDS, workers=3)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_every_acknowledged_command_survives_many_kills(rig: Rig) -> None:
    # Addresses rest for a minute, so many rounds need many of them.
    await _kill_rounds(rig, SOAK_ROUNDS, workers=8)


async def _kill_rounds(rig: Rig, rounds: int, *, workers: int) -> None:
    seed = int(os.environ.get("OAKCTL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed} (OAKCTL_SEED={seed} runs it again)")  # noqa: T201
    chance = random.Random(seed)
    for number in range(workers):
        await rig.join(f"w{number}", facts(memory_mb=100_000))
    since: dict[str, float] = {}
    kept: list[ServiceSpec] = []
    for number in range(rounds):
        services = [spec(f"s{number}x{i}", memory_mb=1) for i in range(SERVICES)]
        commands = asyncio.gather(*(_deploy(rig, service) for service in services))
        await asyncio.sleep(chance.uniform(0.0, 0.15))
        await _kill(rig, chance.choice(("orchestrator", "bus", "both")))
        await asyncio.wait_for(commands, 60)
        for service in services:
            await rig.running(service, 0)
            await rig.running(service, 1)
        await _nothing_lost_or_doubled(rig, services, since)
        await _withdraw(rig, services[::2] + kept, chance)
        kept = services[1::2]
    assert "Traceback" not in rig.log()


async def _deploy(rig: Rig, service: ServiceSpec) -> None:
    for number in (0, 1):
        assert (await rig.root.offer(service, number)).accepted
    assert (await rig.root.share(service, 1, {0: 1, 1: 1})).ok


async def _kill(rig: Rig, what: str) -> None:
    if what in ("orchestrator", "both"):
        rig.end_orchestrator(signal.SIGKILL)
    if what in ("bus", "both"):
        rig.bus.kill()
        rig.bus.start()
    if rig.process is None:
        rig.start_orchestrator()


async def _nothing_lost_or_doubled(
    rig: Rig, services: list[ServiceSpec], since: dict[str, float]
) -> None:
    state = await rig.root.full_state()
    names = [place.observed.name for place in state.instances]
    assert len(names) == len(set(names))
    assert {s.job_name for s in services} <= set(state.shares)
    for place in state.instances:
        assert place.observed.state == InstanceState.RUNNING
        runs_on = [
            worker.name for worker in rig.workers.values()
            if (place.observed.job_name, place.observed.number) in worker.instances
        ]  # fmt: skip
        assert runs_on == [place.worker]
        # The very same start: it was not disturbed in any round.
        assert since.setdefault(place.observed.name, place.observed.since) == place.observed.since


async def _withdraw(rig: Rig, gone: list[ServiceSpec], chance: random.Random) -> None:
    commands = asyncio.gather(*(rig.root.share(s, 2, {}, gone=True) for s in gone))
    await asyncio.sleep(chance.uniform(0.0, 0.05))
    await _kill(rig, chance.choice(("orchestrator", "bus")))
    answers = await asyncio.wait_for(commands, 60)
    assert all(answer.ok for answer in answers)
    for service in gone:
        await until("it is gone", lambda s=service: rig.root.place(s, 0) is None)
        await until("it is gone", lambda s=service: rig.root.place(s, 1) is None)
    jobs = {s.job_name for s in gone}
    for worker in rig.workers.values():
        await until("stopped", lambda w=worker: not any(job in jobs for job, _ in w.instances))
