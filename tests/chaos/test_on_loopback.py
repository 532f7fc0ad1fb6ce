"""Faults on a real lab, from the command's own parts to what the timeline tells of them.

One fleet for all of it: what is broken comes back, and nothing of a fault is left on a host.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from oakctl.chaos import faults, scenario
from oakctl.chaos.carrying_out import Chaos
from oakctl.chaos.faults import Kind
from oakctl.chaos.playing import Player
from oakctl.cli.chaos_power import LabPower
from oakctl.client.root import RootClient
from oakctl.errors import Conflict, NotFound
from oakctl.lab import loopback
from oakctl.lab.loopback import Lab
from oakctl.model.requests import ApplyRequest
from tests.chain.fleet import fleet, until
from tests.chain.test_kills import DESCRIPTOR, instance_processes, pack_sleeper, settled

CHECKOUT = Path(__file__).parents[2]
APPLICATION = "steady"


class Stage:
    """A fleet with one application, and somebody who breaks it."""

    def __init__(self, lab: Lab, root: RootClient) -> None:
        self.lab, self.root = lab, root
        self.chaos = Chaos(root, LabPower())

    async def make(self, kind: Kind, target: str, for_s: float | None = None) -> None:
        await self.chaos.inflict(await self.chaos.plan(faults.fault(kind, target, for_s=for_s)))

    async def last_event(self) -> int:
        return max([event.id async for event in self.root.events(-1)], default=0)

    async def told(self, after: int, *wanted: tuple[str, str]) -> None:
        """The timeline has (kind, end of the subject) of all `wanted`, in this order."""
        left = list(wanted)

        async def seen() -> list[tuple[str, str]]:
            nonlocal left
            left = list(wanted)
            async for event in self.root.events(after):
                if left and event.kind == left[0][0] and event.subject.endswith(left[0][1]):
                    left.pop(0)
            return left

        await until(f"{wanted} in the timeline", seen, lambda found: not found)

    def noted(self, host: str) -> list[str]:
        folder = self.lab.directory / "homes" / host / ".oakctl" / "chaos"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    async with fleet() as (lab, root):
        sha256 = await root.upload_artifact(pack_sleeper(folder))
        descriptor = DESCRIPTOR.format(name=APPLICATION, replicas=2)
        await root.apply(ApplyRequest(descriptor, {"./app": sha256}))
        await until("two instances", lambda: settled(lab, root, {APPLICATION: 2}))
        yield Stage(lab, root)


@pytest.mark.slow
async def test_what_is_broken_is_told_and_comes_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        await refuses_what_is_not_possible(it)
        await kills_an_instance(it)
        await kills_agent_orchestrator_and_bus(it)
        await outlives_its_command(it)
        await is_listed_and_healed(it)
        await cuts_the_power(it)
        await plays_a_scenario(it)
        await until("all of it", lambda: settled(it.lab, it.root, {APPLICATION: 2}))


async def refuses_what_is_not_possible(it: Stage) -> None:
    with pytest.raises(Conflict, match="loopback lab") as refused:
        await it.chaos.plan(faults.fault(Kind.PARTITION, "edge-w1", peer="edge-w2"))
    assert refused.value.hint
    for target in ("edge-w9", "nobody"):
        with pytest.raises(NotFound):
            await it.make(Kind.POWER_CUT, target)
    with pytest.raises(NotFound):
        await it.make(Kind.KILL_AGENT, "edge/w9")


async def kills_an_instance(it: Stage) -> None:
    after = await it.last_event()
    name = (await it.root.instances())[0].name
    before = instance_processes(it.lab)[name]
    await it.make(Kind.KILL_INSTANCE, "Sleeper.instance.0" if name.endswith(".0") else name)
    await it.told(after, ("instance.failed", name), ("instance.running", name))
    assert not before & instance_processes(it.lab)[name]
    assert it.noted("edge-w1") == it.noted("edge-w2") == []


async def kills_agent_orchestrator_and_bus(it: Stage) -> None:
    after = await it.last_event()
    await it.make(Kind.KILL_AGENT, "w1")
    await it.told(after, ("worker.greeted", "w1"))
    await it.make(Kind.KILL_BUS, "edge")
    await it.make(Kind.KILL_ORCHESTRATOR, "edge")

    async def is_up() -> bool:
        ready = {view.status for view in await it.root.workers()} == {"ready"}
        return ready and (await it.root.cluster("edge")).status == "ready"

    await until("cluster and workers are ready", is_up)
    await until("all runs, once", lambda: settled(it.lab, it.root, {APPLICATION: 2}))


async def outlives_its_command(it: Stage) -> None:
    """The command is killed as soon as the fault is noted on its host, which ends it by itself."""
    call = subprocess.Popen(
        [sys.executable, "-m", "oakctl", "chaos", "kill-agent", "w1", "--for", "6s", "--yes"],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    try:
        await until("it is noted", lambda: it.noted("edge-w1"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(call.pid, signal.SIGKILL)
        call.wait()
    await until("it is over", lambda: it.noted("edge-w1"), lambda left: not left)

    async def ready() -> bool:
        return (await it.root.worker("edge", "w1")).status == "ready"

    await until("the worker is ready", ready)


async def is_listed_and_healed(it: Stage) -> None:
    after = await it.last_event()
    await it.make(Kind.KILL_AGENT, "edge/w2", for_s=3600)
    await it.told(after, ("worker.dead", "w2"))
    found = (await it.chaos.overview()).found
    assert [(each.node, each.fault) for each in found] == [("edge-w2", "kill-agent edge/w2")]
    assert 3000 < found[0].left_s <= 3600
    done, silent = await it.chaos.heal()
    assert [(each.node, each.done) for each in done] == [("edge-w2", True)]
    assert silent == []
    await it.told(after, ("worker.dead", "w2"), ("worker.greeted", "w2"))
    assert (await it.chaos.heal(["edge-w2"])) == ([], [])
    assert it.noted("edge-w2") == []


SCENARIO = """
application: steady.kill
faults: [{at: 1s, do: {kill-instance: NAME}, expect: {detected: 90s, replaced: 90s}}]
"""


async def plays_a_scenario(it: Stage) -> None:
    name = (await it.root.instances())[0].name
    script = scenario.parse(SCENARIO.replace("NAME", name), "one kill")
    report = await Player(it.root, it.chaos, script, lambda line: None).play()
    assert report.ok, report
    (found,) = report.faults
    assert (found.hit, found.replaced, found.detected_by) == ((name,), 1, f"instance.failed {name}")
    assert found.detected_s is not None
    assert found.replaced_s is not None
    assert found.detected_s <= found.replaced_s <= report.ended_at - report.began_at
    assert [event.kind for event in report.timeline if event.subject == name][
        -1
    ] == "instance.ready"


async def cuts_the_power(it: Stage) -> None:
    after = await it.last_event()
    await it.make(Kind.POWER_CUT, "edge-w2", for_s=5)
    assert "edge-w2" not in loopback.load(it.lab.name).on
    await it.told(after, ("worker.dead", "w2"), ("worker.greeted", "w2"))
    assert "edge-w2" in loopback.load(it.lab.name).on
    await it.make(Kind.POWER_CUT, "edge-w2")
    assert [each.until for each in LabPower().in_force()] == [0.0]
    done, _ = await it.chaos.heal(["w2"])
    assert [each.fault for each in done] == ["power-cut edge-w2"]
    assert "edge-w2" in loopback.load(it.lab.name).on
