"""A cluster on light hosts, made by the playbooks, and instances of one program where a test wants.

Belongs here: bringing it up and down, calling from inside of it. Does not belong here: what is
expected.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from oakctl.client import artifact
from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.lab import control, loopback
from oakctl.lab.description import LabFiles
from oakctl.lab.loopback import Lab, LabHost
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site
from oakctl.model.requests import ApplyRequest, ClusterCreate, WorkerAdd
from tests.lab_loopback.conftest import connect
from tests.waiting import until

PROGRAM = Path(__file__).with_name("program")
NAME = "matrix"
# A public host, two behind one router, one behind another, which is a symmetric one.
PLAN = LabPlan(
    (
        MachineHost("edge"),
        MachineHost("home1", site="home"),
        MachineHost("home2", site="home"),
        MachineHost("office", site="office"),
    ),
    (Site("home"), Site("office", Nat.SYMMETRIC)),
)
WORKERS = tuple(host.name for host in PLAN.hosts)
RR, CLOSEST = "10.30.40.1", "10.30.40.2"
READY_S = 240.0
# What it is given is enforced here: enough for all the calls of a load, by one instance alone.
DESCRIPTOR = f"""
sla_version: v2.0
customerID: Admin
applications:
  - application_name: m
    application_namespace: t
    application_desc: calls in all directions
    microservices:
      - &it
        microservice_name: S
        microservice_namespace: t
        virtualization: process
        code: ./program
        memory: 64
        addresses: {{rr_ip: {RR}, closest_ip: {CLOSEST}}}
        oakctl: {{vcpus: 0.2, listen: [7000/tcp, 7000/udp], ready: {{tcp: 7000}}}}
      - <<: *it
        microservice_name: C
        addresses: {{}}
        connectivity: [{{target_microservice_id: S}}]
"""


class LightFleet:
    """The fleet, to a test."""

    def __init__(self, lab: Lab, root: RootClient, root_ends: AsyncExitStack) -> None:
        self.lab = lab
        self.root = root
        self._root_ends = root_ends

    async def without_cluster(self) -> None:
        """End the root, and the orchestrator; agents and the bus go on."""
        await self._root_ends.aclose()
        request = {"op": "stop", "host": "edge", "name": "orchestrator"}
        await control.ask(LabFiles(self.lab.name).socket, request, timeout_s=READY_S)

    async def only(self, *workers: str) -> None:
        """New instances are placed on these workers. What is pending has no other for a moment."""
        for name in sorted(WORKERS, key=lambda each: each in workers):
            await self.root.cordon("edge", name, name not in workers)

    async def place(self, service: str, workers: Sequence[str]) -> dict[str, str]:
        """An instance of a service on each of the workers, one by one; worker → address.

        The last of them stays the only one that takes more.
        """
        for wanted, name in enumerate(workers, start=1):
            await self.only(name)
            await self.root.scale(service, wanted)
            await self.ready(service)
        return {one.worker: one.bind for one in await self.root.instances(service)}

    async def ready(self, service: str) -> None:
        """Return when all of its instances are."""
        await until(
            f"{service} to be ready",
            lambda: self.root.service(service),
            lambda found: found.ready == found.wanted,
            wait_s=READY_S,
        )

    async def apply(self, folder: Path) -> None:
        """Apply the descriptor, without placing anything yet."""
        await self.only()
        packed = await asyncio.to_thread(artifact.resolve, "./program", PROGRAM.parent, folder)
        uploaded = await self.root.upload_artifact(packed.path)
        await self.root.apply(ApplyRequest(DESCRIPTOR, {"./program": uploaded}))
        for service in ("S", "C"):  # what waits for a place would take the next that there is
            await self.root.scale(service, 0)

    async def run(self, host: str, *words: str, within: str = "") -> Any:
        """What the program prints on a host, or in the instance with this address there."""
        async with connect(self.lab.host(host)) as client:
            done = await client.run(command(within, *words), check=True)
        return json.loads(str(done.stdout))

    async def shell(self, host: str, script: str) -> str:
        """What a command on a host prints; it must succeed."""
        async with connect(self.lab.host(host)) as client:
            return str((await client.run(script, check=True)).stdout)

    async def kill(self, host: str, address: str) -> None:
        """kill -9 of the program of the instance with this address."""
        find = f"ip netns pids oak-{address}"
        served = f"for p in $({find}); do grep -q program.py /proc/$p/cmdline && kill -9 $p; done"
        await self.shell(host, f"{served}; true")

    @asynccontextmanager
    async def load(self, host: str, within: str, address: str) -> AsyncIterator[dict[str, Any]]:
        """Calls without end while the context lasts; what became of them is in there after it."""
        found: dict[str, Any] = {}
        async with connect(self.lab.host(host)) as client:
            process: asyncssh.SSHClientProcess[str] = await client.create_process(
                command(within, "load", address)
            )
            assert (await process.stdout.readline()).strip() == "under way"
            yield found
            process.stdin.write_eof()
            found |= json.loads(await process.stdout.read())


def command(within: str, *words: str) -> str:
    """The line that runs the program, in an instance's network or the host's own."""
    enter = f"ip netns exec oak-{within} " if within else ""
    return f"{enter}{sys.executable} -S {PROGRAM / 'program.py'} {' '.join(words)}"


@asynccontextmanager
async def light_fleet(folder: Path) -> AsyncIterator[LightFleet]:
    """Cluster `edge`, whose every host is a worker, and a root that this process hosts."""
    hosts = [LabHost(name, vcpus=2, memory_mb=1024) for name in WORKERS]
    try:
        lab = await loopback.up(NAME, hosts, network=PLAN)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(hosted_root())
            root = await stack.enter_async_context(RootClient())
            for host in lab.hosts:
                await root.put_host(host)
            created = await root.create_cluster(ClusterCreate("edge", "edge"))
            await root.wait_operation(created.id, READY_S)
            added = [await root.add_worker(WorkerAdd(name, "edge", name)) for name in WORKERS]
            for operation in added:
                await root.wait_operation(operation.id, READY_S)
            made = LightFleet(lab, root, stack)
            await made.apply(folder)
            yield made
    finally:
        await loopback.down(NAME)
