"""Memory and idle CPU of every process of ours, against the budgets.

    python bench/footprint.py [--seconds 20]

Makes a loopback lab with one orchestrator and four workers in a state directory of its own, lets
it sit idle, reads /proc, prints a table and takes everything away again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.lab import control, loopback
from oakctl.lab.description import LabFiles
from oakctl.lab.loopback import LabHost
from oakctl.model.requests import ClusterCreate, WorkerAdd

LAB = "footprint"
CLUSTER = "bench"
HOSTS = (LabHost("orchestrator"), *(LabHost(f"w{n}") for n in range(1, 5)))
SETTLE_S = 10.0
OPERATION_S = 180.0

AGENT_MB, AGENT_CPU = 35.0, 0.5
CLUSTER_MB = 90.0


@dataclass(frozen=True)
class Use:
    """One process: MiB resident, percent of one core."""

    name: str
    rss_mb: float
    cpu_percent: float


def rss_mb(pid: int) -> float:
    """MiB resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """Seconds of CPU used so far, its own and its threads'."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def bring_up(root: RootClient, lab: loopback.Lab) -> None:
    """One cluster and its four workers."""
    for host in lab.hosts:
        await root.put_host(host)
    created = await root.create_cluster(ClusterCreate(CLUSTER, HOSTS[0].name))
    await root.wait_operation(created.id, OPERATION_S)
    adding = [await root.add_worker(WorkerAdd(h.name, CLUSTER, h.name)) for h in HOSTS[1:]]
    await asyncio.gather(*(root.wait_operation(one.id, OPERATION_S) for one in adding))


async def pids(root_pid: int, lab: loopback.Lab) -> dict[str, int]:
    """Every process of ours: "w1:agent" → pid."""
    found = {"root": root_pid, "lab keeper": lab.keeper}
    for host in lab.hosts:
        request = {"op": "status", "host": host.name}
        answer = await control.ask(LabFiles(LAB).socket, request, timeout_s=10)
        for unit, status in answer["units"].items():
            found[f"{host.name}:{unit}"] = status["pid"]
    return found


async def measure(seconds: float, say: Callable[[str], None]) -> list[Use]:
    """Build it, wait, measure, take it away."""
    try:
        lab = await loopback.up(LAB, HOSTS, say)
        async with hosted_root() as status, RootClient() as root:
            await bring_up(root, lab)
            say(f"idle for {SETTLE_S:.0f} s, then measured for {seconds:.0f} s")
            await asyncio.sleep(SETTLE_S)
            running = await pids(status.pid, lab)
            before, began = {name: cpu_s(pid) for name, pid in running.items()}, time.monotonic()
            await asyncio.sleep(seconds)
            passed = time.monotonic() - began
            return [
                Use(name, rss_mb(pid), (cpu_s(pid) - before[name]) / passed * 100)
                for name, pid in running.items()
            ]
    finally:
        await loopback.down(LAB)


def table(uses: list[Use]) -> list[str]:
    """The figures, and whether they keep to the budgets."""
    lines = [f"{'process':<24}{'MiB':>8}{'% CPU':>8}"]
    lines += [f"{one.name:<24}{one.rss_mb:>8.1f}{one.cpu_percent:>8.2f}" for one in uses]
    agents = [one for one in uses if one.name.endswith(":agent")]
    both = [one for one in uses if one.name.startswith(f"{HOSTS[0].name}:")]
    largest = max(one.rss_mb for one in agents)
    busiest = max(one.cpu_percent for one in agents)
    cluster = sum(one.rss_mb for one in both)
    lines += [
        "",
        verdict("largest agent", largest, AGENT_MB, "MiB"),
        verdict("busiest agent", busiest, AGENT_CPU, "% CPU"),
        verdict("orchestrator and bus", cluster, CLUSTER_MB, "MiB"),
    ]
    return lines


def verdict(what: str, value: float, budget: float, unit: str) -> str:
    """One line: the figure, the budget, and whether it is kept."""
    kept = "kept" if value <= budget else "NOT kept"
    return f"{what:<24}{value:>8.2f} {unit} of {budget:g}: {kept}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Memory and idle CPU against the budgets.")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="oakctl-bench-") as directory:
        os.environ["XDG_STATE_HOME"] = f"{directory}/state"
        os.environ["XDG_CONFIG_HOME"] = f"{directory}/config"
        for line in table(asyncio.run(measure(seconds, print))):
            print(line)


if __name__ == "__main__":
    main()
