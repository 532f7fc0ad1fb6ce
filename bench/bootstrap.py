"""From bare hosts (Docker is there) to ready workers, beside `docker swarm join` over plain ssh.

    sudo python bench/bootstrap.py [--hosts 8] [--rounds 3]

Makes a lab of real hosts in a state directory of its own. In each round, on the same hosts: Swarm
joins one host, then all at once, and leaves; then oakctl makes the same hosts workers, one, then
all at once, and removes them. Prints seconds, bytes that each host received and commands that its
SSH server ran. Takes everything away again.

The two don't do the same: Swarm's agent is part of the engine that is there already, oakctl brings
its agent, checks the host and keeps a manifest for the way back.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ground

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import HostView

LAB = "bootstrap"
BOSS = "boss"
CLUSTER = "bench"
OPERATION_S = 300.0
READY_S = 120.0
STEP_S = 0.1


@dataclass
class Figures:
    """One way of joining: seconds of each round, bytes and commands of each host."""

    one: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)


Join = Callable[[Sequence[HostView]], Awaitable[None]]


class Swarm:
    """Docker Swarm, joined as its documentation says, over the system's ssh."""

    def __init__(self, boss: HostView) -> None:
        self._boss = boss
        self._token = ""

    async def begin(self) -> None:
        """The first manager."""
        await ground.run(self._boss, f"docker swarm init --advertise-addr {self._boss.address}")
        self._token = (await ground.run(self._boss, "docker swarm join-token -q worker")).strip()

    async def join(self, hosts: Sequence[HostView]) -> None:
        """Returns when the manager says that all of them are ready."""
        join = f"docker swarm join --token {self._token} {self._boss.address}:2377"
        await asyncio.gather(*(ground.run(host, join) for host in hosts))
        deadline = time.monotonic() + READY_S
        wanted = {host.name for host in hosts}
        while wanted - await self._ready():
            if time.monotonic() > deadline:
                raise ground.Failed(f"swarm: not all of {sorted(wanted)} became ready")
            await asyncio.sleep(STEP_S)

    async def _ready(self) -> set[str]:
        listed = "docker node ls --format '{{.Hostname}} {{.Status}}'"
        rows = [row.split() for row in (await ground.run(self._boss, listed)).splitlines()]
        return {name for name, status in rows if status == "Ready"}

    async def leave(self, hosts: Sequence[HostView]) -> None:
        """The hosts are bare again."""
        await asyncio.gather(*(ground.run(host, "docker swarm leave --force") for host in hosts))
        names = " ".join(host.name for host in hosts)
        await ground.run(self._boss, f"docker node rm --force {names}")


class Oakctl:
    """Workers of one cluster, through the root's own interface."""

    def __init__(self, root: RootClient) -> None:
        self._root = root

    async def begin(self, boss: HostView) -> None:
        """The cluster."""
        created = await self._root.create_cluster(ClusterCreate(CLUSTER, boss.name))
        await self._root.wait_operation(created.id, OPERATION_S)

    async def join(self, hosts: Sequence[HostView]) -> None:
        """Returns when the cluster says that all of them are ready."""
        adding = [
            await self._root.add_worker(WorkerAdd(host.name, CLUSTER, host.name)) for host in hosts
        ]
        await asyncio.gather(*(self._root.wait_operation(one.id, OPERATION_S) for one in adding))
        ready = {one.name for one in await self._root.workers(CLUSTER) if one.status == "ready"}
        missing = {host.name for host in hosts} - ready
        if missing:
            raise ground.Failed(f"oakctl: {sorted(missing)} are not ready")

    async def leave(self, hosts: Sequence[HostView]) -> None:
        """The hosts are bare again."""
        going = [await self._root.remove_worker(CLUSTER, host.name) for host in hosts]
        await asyncio.gather(*(self._root.wait_operation(one.id, OPERATION_S) for one in going))


async def timed(join: Join, hosts: Sequence[HostView], figures: Figures) -> float:
    """Seconds of `join`; bytes and commands of each host go into `figures`."""
    sessions_before = [await ground.sessions(host) for host in hosts]
    bytes_before = [await ground.received_bytes(LAB, host.name) for host in hosts]
    began = time.monotonic()
    await join(hosts)
    seconds = time.monotonic() - began
    for index, host in enumerate(hosts):
        figures.bytes.append(await ground.received_bytes(LAB, host.name) - bytes_before[index])
        counting = 1  # the session that counted before
        figures.commands.append(await ground.sessions(host) - sessions_before[index] - counting)
    return seconds


async def round_of(join: Join, leave: Join, hosts: Sequence[HostView], figures: Figures) -> None:
    """One host, then all at once; bare before and after."""
    figures.one.append(await timed(join, hosts[:1], figures))
    await leave(hosts[:1])
    figures.all.append(await timed(join, hosts, figures))
    await leave(hosts)


async def measure(count: int, rounds: int, say: Callable[[str], None]) -> dict[str, Figures]:
    """Build the lab, measure both in turn, take it away."""
    names = [f"h{n}" for n in range(1, count + 1)]
    plan = LabPlan(tuple(MachineHost(name, docker=True) for name in (BOSS, *names)))
    figures = {"swarm": Figures(), "oakctl": Figures()}
    try:
        lab = await machines.up(LAB, plan, say)
        boss, *hosts = lab.hosts
        for host in lab.hosts:
            await ground.run(host, ground.COUNT_SESSIONS)
        async with hosted_root(), RootClient() as client:
            for host in lab.hosts:
                await client.put_host(host)
            swarm, ours = Swarm(boss), Oakctl(client)
            await swarm.begin()
            await ours.begin(boss)
            for number in range(1, rounds + 1):
                say(f"round {number} of {rounds}: swarm")
                await round_of(swarm.join, swarm.leave, hosts, figures["swarm"])
                say(f"round {number} of {rounds}: oakctl")
                await round_of(ours.join, ours.leave, hosts, figures["oakctl"])
    finally:
        await machines.down(LAB)
    return figures


def table(figures: dict[str, Figures], count: int) -> list[str]:
    """Seconds as median (least to most), and what a host received and ran."""
    lines = [
        f"{'':<8} {'one host, s':<24} {f'{count} at once, s':<24} {'MB to a host':<14} commands"
    ]
    for name, found in figures.items():
        sent = statistics.median(found.bytes) / 1e6
        ran = statistics.median(found.commands)
        lines.append(
            f"{name:<8} {ground.spread(found.one):<24} {ground.spread(found.all):<24} "
            f"{sent:<14.2f} {ran:.0f}"
        )
    ours, theirs = figures["oakctl"], figures["swarm"]
    one = statistics.median(ours.one) / statistics.median(theirs.one)
    every = statistics.median(ours.all) / statistics.median(theirs.all)
    return [*lines, "", f"oakctl takes {one:.2f} times as long for one, {every:.2f} for {count}"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="From bare hosts to ready workers.")
    parser.add_argument("--hosts", type=int, default=8, help="how many are added at once")
    parser.add_argument("--rounds", type=int, default=3, help="how often")
    chosen = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("real hosts need root: sudo python bench/bootstrap.py")
    with tempfile.TemporaryDirectory(prefix="oakctl-bench-") as directory:
        os.environ.update(ground.own_directories(Path(directory)))
        figures = asyncio.run(measure(chosen.hosts, chosen.rounds, print))
    for line in table(figures, chosen.hosts):
        print(line)


if __name__ == "__main__":
    main()
