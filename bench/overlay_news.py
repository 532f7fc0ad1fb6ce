"""How soon the overlay knows: that a node has gone, and that a table has changed.

    sudo python bench/overlay_news.py [--cuts 10] [--subscribers 5 50 500]

First, with real agents on light hosts (cluster, playbooks and all): the cable of a node with one of
three instances is pulled under a hundred new connections a second to the service address, again and
again. Printed is how long the connection waited that waited longest: made just after the cut, and
answered elsewhere. Then, with a real bus and a real orchestrator, and agents that are simulated in
one process: from an instance's report that it is not ready to the last subscriber's document
without it. What a node then takes to change its map is in `overlay.py --changes`.

Everything shares this machine's processors. Nothing is left.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from oakctl.model.config import Timers
from tests.cluster.rig import Rig, facts, running_rig, spec
from tests.lab_namespaces.light_fleet import RR, LightFleet, light_fleet
from tests.waiting import until

CHANGES = 10
SLOW_TIMERS = Timers(heartbeat_s=5.0, suspect_s=60.0, dead_s=120.0, first_sign_s=120.0)
MEMORY_MB = 512
WAIT_S = 300.0


async def cuts(count: int, folder: Path) -> None:
    """The longest wait of a new connection around each cut."""
    longest, faults = [], []
    async with light_fleet(folder) as fleet:
        await fleet.place("S", ("home1", "home2", "office"))
        client = (await fleet.place("C", ("edge",)))["edge"]
        await fleet.only()
        await all_answer(fleet, client, 3)
        for number in range(count):
            gone = ("home1", "home2", "office")[number % 3]
            async with fleet.load("edge", client, RR) as found:
                await fleet.lab.cut_host(gone)
                await all_answer(fleet, client, 2)
            longest.append(found["longest_ms"])
            faults += [fault for fault in found["faults"] if fault.startswith("no connection")]
            await fleet.lab.heal_host(gone)
            await fleet.ready("S")
            await all_answer(fleet, client, 3)
    print(f"first answer elsewhere after a node's cut, {count} cuts: "
          f"{statistics.median(longest):.0f} ms ({min(longest):.0f} to {max(longest):.0f}); "
          f"{len(faults)} new connections failed", flush=True)  # fmt: skip


async def all_answer(fleet: LightFleet, client: str, count: int) -> None:
    """Return when so many instances answer new flows."""

    async def answers() -> set[str]:
        found = await fleet.run("edge", "ask", "20", RR, within=client)
        return {each for answers in found.values() for each in answers}

    await until(f"{count} answer", answers, lambda them: len(them) == count, wait_s=WAIT_S)


async def subscribers(count: int, folder: Path) -> None:
    """From a report to the last document."""
    web, client = spec("web", memory_mb=1), spec("client", memory_mb=300, talks_to=("web",))
    async with running_rig(folder, SLOW_TIMERS, node_subnets="10.18.0.0/16") as rig:
        for number in range(count):
            await rig.join(f"w{number}", replace(facts(memory_mb=MEMORY_MB), loopback_number=2))
        await rig.deployed(web)
        await rig.deployed(client, count)
        took = [await change(rig, web.job_name, number % 2 == 1) for number in range(CHANGES)]
    print(f"a table's change to the last of {count:3} subscribers: "
          f"{statistics.median(took):7.1f} ms ({min(took):.1f} to {max(took):.1f})",
          flush=True)  # fmt: skip


async def change(rig: Rig, job: str, ready: bool) -> float:
    """Milliseconds from an instance's report to the last document with it, or without."""
    holder = next(each for each in rig.workers.values() if (job, 0) in each.instances)
    await until("all know it as it is", lambda: know(rig, job, not ready), wait_s=WAIT_S)
    holder.instances[(job, 0)] = replace(holder.instances[(job, 0)], ready=ready)
    begin = time.perf_counter()
    holder.changed()
    step_s = 0.001  # of some hundred at the least
    await until("all know it", lambda: know(rig, job, ready), wait_s=WAIT_S, step_s=step_s)
    return (time.perf_counter() - begin) * 1e3


def know(rig: Rig, job: str, ready: bool) -> bool:
    """Whether every worker's newest table says so of the one instance."""
    tables = [
        next((table for table in worker.tables.tables if table.job_name == job), None)
        for worker in rig.workers.values()
    ]
    return all(
        table is not None and any(target.ready for target in table.targets) is ready
        for table in tables
    )


async def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--subscribers", type=int, nargs="*", default=[5, 50, 500])
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} processors, Linux {os.uname().release}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {f"XDG_{each}_HOME": f"{name}/{each.lower()}" for each in ("STATE", "CONFIG")}
        if chosen.cuts:
            await cuts(chosen.cuts, folder / "artifacts")
        for count in chosen.subscribers:
            await subscribers(count, folder / f"s{count}")


if __name__ == "__main__":
    asyncio.run(main())
