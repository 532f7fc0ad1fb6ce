"""A real lab for the playbooks: hosts with SSH, a shell and a supervisor."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from nats.errors import NoRespondersError

from oakctl.lab import loopback, processes
from oakctl.lab.loopback import Lab, LabHost
from oakctl.model import subjects
from oakctl.model.config import BUS_PORT, BusAccess, HostLayout
from oakctl.model.messages import Answer, Enrolment
from oakctl.model.resources import Location
from oakctl.model.views import HostView, StepEvent
from oakctl.orchestration import bus
from oakctl.remote import bootstrap, connection
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs
from oakctl.remote.step import Cancelled
from oakctl.remote.supervisor import PlainSupervisor
from oakctl.remote.target import Target
from tests.remote.servers import Machines

ROOT_SECRET = "a-secret-of-the-root"
WORKER_SECRET = "a-secret-of-the-worker"
SALT = bcrypt.gensalt(4)

Stop = Callable[[StepEvent], bool]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    try:
        made = await loopback.up("p", (LabHost("h1", 2, 512, 1, Location(48.1, 11.5)),))
        yield made
    finally:
        await loopback.down("p")
    assert processes.of_lab(made.id) == []


@pytest.fixture
def host(lab: Lab, tmp_path: Path) -> Host:
    return Host(lab, lab.hosts[0], tmp_path)


async def enrol(access: ClusterAccess, folder: Path) -> None:
    """What the root does before it makes a worker: the cluster is told of its credential."""
    hashed = bcrypt.hashpw(WORKER_SECRET.encode(), SALT).decode()
    await order(access, folder, subjects.CTL_ENROL, Enrolment("w1", hashed))


async def order(access: ClusterAccess, folder: Path, subject: str, message: object) -> None:
    """Tell a cluster something, as the root."""
    ca_file, secret_file = folder / "ca.pem", folder / "root.secret"
    ca_file.write_text(access.ca_pem)
    secret_file.write_text(ROOT_SECRET)
    url = f"tls://{access.bus_address}:{access.bus_port}"
    client = await bus.connect(
        BusAccess(url, "edge", str(ca_file), subjects.USER_ROOT, str(secret_file)),
        name="root",
        wait_s=30,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = await bus.ask(client, subject, message, Answer, timeout_s=10)
                break
            except NoRespondersError:  # the orchestrator has begun to run, and is not there yet
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        assert answer.ok, answer.error
    finally:
        await client.close()


class Host:
    """A lab's host, what was done to it, and what is on it."""

    def __init__(self, lab: Lab, view: HostView, folder: Path) -> None:
        self.lab = lab
        self._folder = folder
        self.view = view
        self.target = Target.of(view)
        self.told: list[StepEvent] = []

    def done(self) -> list[str]:
        """The steps that were carried out, as told so far."""
        return [event.step for event in self.told if event.state == "done"]

    async def _call(self, work: Callable[..., Any], *inputs: Any, stop: Stop | None = None) -> Any:
        self.told = []
        cancelled = threading.Event()

        def report(event: StepEvent) -> None:
            self.told.append(event)
            if stop is not None and stop(event):
                cancelled.set()

        return await asyncio.to_thread(work, self.target, *inputs, report, cancelled)

    async def cluster(self, stop: Stop | None = None, **changes: Any) -> ClusterAccess:
        inputs = {
            "cluster": "edge",
            "policy": "rom",
            "location": None,
            "node_subnets": "10.18.0.0/20",
            "root_secret": ROOT_SECRET,
        }
        made = await self._call(
            bootstrap.bootstrap_cluster, ClusterInputs(**(inputs | changes)), stop=stop
        )
        assert isinstance(made, ClusterAccess)
        return made

    async def worker(self, access: ClusterAccess, stop: Stop | None = None, **changes: Any) -> None:
        inputs = {
            "worker": "w1",
            "cluster": "edge",
            "secret": WORKER_SECRET,
            "bus_address": access.bus_address,
            "bus_port": access.bus_port,
            "ca_pem": access.ca_pem,
        }
        await enrol(access, self._folder)
        await self._call(bootstrap.bootstrap_worker, WorkerInputs(**(inputs | changes)), stop=stop)

    async def remove(self, role: str, stop: Stop | None = None) -> None:
        await self._call(bootstrap.remove, role, stop=stop)

    async def in_pieces(self, work: Callable[[Stop], Any]) -> list[list[str]]:
        """Do `work`, interrupted after each step that was carried out; the steps of each piece."""
        pieces = []
        for _ in range(40):
            try:
                await work(lambda event: event.state == "done")
            except Cancelled:
                pieces.append(self.done())
            else:
                return [*pieces, self.done()]
        raise AssertionError(f"it does not converge: {pieces}")

    async def states(self) -> dict[str, str]:
        def ask() -> dict[str, str]:
            with connection.open_fabric(self.target) as remote:
                return PlainSupervisor(remote).states()

        return await asyncio.to_thread(ask)

    async def pids(self) -> dict[str, int]:
        def ask() -> dict[str, int]:
            with connection.open_fabric(self.target) as remote:
                units = PlainSupervisor(remote)._unit("status")
                return {name: unit["pid"] for name, unit in units.items()}

        return await asyncio.to_thread(ask)

    @property
    def prefix(self) -> Path:
        """Our folder on the host; a lab's host shares this machine's file system."""
        with connection.open_fabric(self.target) as remote:
            return Path(str(remote.layout.prefix))

    @property
    def layout(self) -> HostLayout:
        return HostLayout(str(self.prefix))

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.view.address, BUS_PORT)) == 0


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.close()
