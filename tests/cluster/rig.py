"""A cluster for tests: a real bus, the orchestrator in a process of its own, a root and workers
that speak the real subjects over connections with their own credentials.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from oakctl.model import messages as m
from oakctl.model import subjects, wire
from oakctl.model.config import ClusterConfig, Timers
from oakctl.model.documents import DesiredDocument, Heartbeat, Report, TablesDocument
from oakctl.model.instance import InstanceState, ObservedInstance
from oakctl.model.node import NodeFacts
from oakctl.model.resources import Resources
from oakctl.model.roots import RootGrant, RootRules, granted_user
from oakctl.model.service import Connectivity, Port, ServiceAddresses, ServiceSpec
from oakctl.orchestration.bus import ask, connect
from tests import waiting
from tests.bus_fixture import Bus, hashed

T = TypeVar("T")
S = InstanceState
TIMERS = Timers(heartbeat_s=0.1, suspect_s=0.6, dead_s=1.5, first_sign_s=2.0, progress_s=2.0)
PATIENCE_S = 30.0
RUN = (
    "import sys; from oakctl.orchestration.cluster.process import main; sys.exit(main(sys.argv[1]))"
)
CHECKOUT = Path(__file__).parents[2]


async def until(what: str, holds: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """The first true value of `holds`."""
    return await waiting.until(what, holds, wait_s=patience_s, step_s=0.02)


async def leave(client: Client) -> None:
    """Close a client; nats-py stumbles over a connection that the bus has cut, the first time."""
    for _ in range(2):
        with contextlib.suppress(OSError, asyncio.TimeoutError, AttributeError):
            await asyncio.wait_for(client.close(), 5)


def spec(
    name: str = "web",
    *,
    memory_mb: int = 10,
    vgpus: int = 0,
    talks_to: tuple[str, ...] = (),
    rr_ip: str = "",
    **more: Any,
) -> ServiceSpec:
    """A service `app.ns.<name>.ns`."""
    return ServiceSpec(
        job_name=f"app.ns.{name}.ns",
        application="app.ns",
        virtualization=more.pop("virtualization", "process"),
        code=more.pop("code", "0" * 64),
        requests=Resources(vcpus=0.1, memory_mb=memory_mb, vgpus=vgpus),
        listen=(Port(80),),
        addresses=ServiceAddresses(rr_ip=rr_ip),
        connectivity=tuple(Connectivity(f"app.ns.{other}.ns") for other in talks_to),
        **more,
    )


def facts(*, memory_mb: int = 512, vgpus: int = 0, loopback: int = 2) -> NodeFacts:
    """A worker's facts."""
    return NodeFacts(
        hostname="host",
        architecture="x86_64",
        system="Debian",
        python="3.11.7",
        capacity=Resources(vcpus=4, memory_mb=memory_mb, storage_mb=1000, vgpus=vgpus),
        address="127.2.0.1",
        loopback_number=loopback,
        secrets=True,
    )


class Root:
    """The root's side of the bus."""

    def __init__(self, client: Client, account: str = "") -> None:
        self.client = client
        self.account = account  # of a granted root
        self.state: m.ClusterState | None = None
        self.statistics: list[m.ClusterStatistics] = []
        self.events: list[m.ClusterEvent] = []
        self.answers_events = True

    @classmethod
    async def connect(cls, bus: Bus, account: str = "") -> Root:
        user = granted_user(account) if account else "root"
        root = cls(await connect(bus.access(user), name=user, wait_s=20), account)
        for subject, handler in (
            (subjects.UP_STATE, root._on_state),
            (subjects.UP_STATISTICS, root._on_statistics),
            (subjects.UP_EVENT, root._on_event),
        ):
            await root.client.subscribe(subjects.of_root(account, subject), cb=handler)
        return root

    async def ask(self, subject: str, message: Any, kind: type[T]) -> T:
        """The answer, asked again while nobody is there (an orchestrator that is killed)."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                own = subjects.of_root(self.account, subject)
                return await ask(self.client, own, message, kind, timeout_s=1)
            except (NatsError, OSError, asyncio.TimeoutError):
                assert time.monotonic() < deadline, f"nobody answers {subject}"
                await asyncio.sleep(0.05)

    async def offer(self, service: ServiceSpec, number: int = 0, epoch: int = 1) -> m.OfferAnswer:
        offer = m.Offer(service, number, epoch, time.time() + 5)
        return await self.ask(subjects.CTL_OFFER, offer, m.OfferAnswer)

    async def share(
        self, service: ServiceSpec, revision: int, instances: dict[int, int], *, gone: bool = False
    ) -> m.Answer:
        share = m.Share(service.job_name, revision, None if gone else service, instances)
        return await self.ask(subjects.CTL_SHARE, share, m.Answer)

    async def full_state(self) -> m.ClusterState:
        return await self.ask(subjects.CTL_STATE, b"", m.ClusterState)

    def place(self, service: ServiceSpec, number: int = 0) -> m.InstancePlace | None:
        """Where the last pushed state has the instance."""
        for place in self.state.instances if self.state else ():
            if (place.observed.job_name, place.observed.number) == (service.job_name, number):
                return place
        return None

    def is_running(self, service: ServiceSpec, number: int = 0) -> m.InstancePlace | None:
        place = self.place(service, number)
        running = place is not None and place.observed.state == S.RUNNING and place.observed.ready
        return place if running else None

    def worker(self, name: str) -> m.WorkerSummary | None:
        return next((w for w in self.state.workers if w.name == name), None) if self.state else None

    def kinds(self, subject: str = "") -> list[str]:
        return [e.kind for e in self.events if not subject or e.subject == subject]

    def adopt(self, state: m.ClusterState) -> None:
        """Take note of a state, unless it is a late one."""
        known = self.state
        if known is None or known.session != state.session or known.seq < state.seq:
            self.state = state

    async def _on_state(self, message: Msg) -> None:
        self.adopt(wire.decode(message.data, m.ClusterState))

    async def _on_statistics(self, message: Msg) -> None:
        self.statistics.append(wire.decode(message.data, m.ClusterStatistics))

    async def _on_event(self, message: Msg) -> None:
        if self.answers_events:
            self.events.append(wire.decode(message.data, m.ClusterEvent))
            await message.respond(wire.encode(m.Answer(True)))


class Worker:
    """An agent without instances of its own: it claims to run whatever it is told to.

    `obeys` false: it takes documents and does nothing about them.
    """

    def __init__(
        self, name: str, client: Client, its_facts: NodeFacts, timers: Timers = TIMERS
    ) -> None:
        self.name = name
        self._timers = timers
        self._news = asyncio.Event()
        self.client = client
        self.facts = its_facts
        self.agent_id = os.urandom(4).hex()
        self.desired = DesiredDocument(name, 0, "")
        self.tables = TablesDocument(name, 0)
        self.instances: dict[tuple[str, int], ObservedInstance] = {}
        self.obeys = True
        self.seq = 0
        self.acknowledged = -1
        self.doubled: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def join(
        cls, bus: Bus, name: str, its_facts: NodeFacts, timers: Timers = TIMERS
    ) -> Worker:
        client = await connect(bus.access(name), name=name, wait_s=20)
        worker = cls(name, client, its_facts, timers)
        await client.subscribe(subjects.command(name, subjects.CMD_DESIRED), cb=worker._on_desired)
        await client.subscribe(subjects.command(name, subjects.CMD_TABLES), cb=worker._on_tables)
        await client.subscribe(subjects.command(name, subjects.CMD_LOGS), cb=worker._on_logs)
        await worker.greet()
        worker._tasks = [
            asyncio.create_task(worker._beat()),
            asyncio.create_task(worker._report_until_acknowledged()),
        ]
        return worker

    async def ask(self, subject: str, message: Any, kind: type[T]) -> T:
        return await ask(self.client, subject, message, kind, timeout_s=3)

    async def greet(self) -> m.GreetingAnswer:
        greeting = m.Greeting(self.name, self.agent_id, m.PROTOCOL, self.facts)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                subject = subjects.ask(self.name, subjects.ASK_GREETING)
                return await self.ask(subject, greeting, m.GreetingAnswer)
            except (NatsError, asyncio.TimeoutError):
                assert time.monotonic() < deadline, "nobody answers the greeting"

    def table(self, service: ServiceSpec) -> Any:
        return next((t for t in self.tables.tables if t.job_name == service.job_name), None)

    async def vanish(self) -> None:
        """As on a power cut: no heartbeat and no connection any more; instances go on."""
        left = set(self._tasks)
        while left:  # a wait that ends in the same moment swallows it, the first time
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)
        await leave(self.client)

    def apply(self) -> None:
        """Run what is desired and nothing else."""
        if not self.obeys:
            return
        wanted = {(i.service.job_name, i.number): i for i in self.desired.instances}
        before = dict(self.instances)
        self.instances = {k: o for k, o in self.instances.items() if k in wanted}
        for key, instance in wanted.items():
            known = self.instances.get(key)
            if known is None or known.epoch < instance.epoch:
                self.instances[key] = ObservedInstance(
                    *key, instance.epoch, S.RUNNING, time.time(), ready=True, pid=4711
                )
        if before != self.instances:
            self.changed()

    def changed(self) -> None:
        self.seq += 1
        self._news.set()

    def report(self) -> Report:
        return Report(
            self.name, self.agent_id, self.seq, time.time(), self.desired.revision,
            tuple(self.instances.values()),
        )  # fmt: skip

    async def _beat(self) -> None:
        seq = 0
        while True:
            seq += 1
            beat = Heartbeat(
                self.name, self.agent_id, seq, time.time(),
                self.desired.revision, self.tables.revision,
            )  # fmt: skip
            with contextlib.suppress(NatsError):
                await self.client.publish(subjects.heartbeat(self.name), wire.encode(beat))
            await asyncio.sleep(self._timers.heartbeat_s)

    async def _report_until_acknowledged(self) -> None:
        subject = subjects.observed(self.name, subjects.OBS_REPORT)
        while True:
            self._news.clear()
            while self.acknowledged < self.seq:
                with contextlib.suppress(NatsError, asyncio.TimeoutError):
                    given = await ask(
                        self.client, subject, self.report(), m.ReportAnswer, timeout_s=1
                    )
                    self.acknowledged = given.seq
                await asyncio.sleep(0.02)
            await self._news.wait()

    async def _on_desired(self, message: Msg) -> None:
        document = wire.decode(message.data, DesiredDocument)
        if document.revision > self.desired.revision:
            self.desired = document
            self.apply()

    async def _on_tables(self, message: Msg) -> None:
        document = wire.decode(message.data, TablesDocument)
        if document.revision > self.tables.revision:
            self.tables = document

    async def _on_logs(self, message: Msg) -> None:
        asked = wire.decode(message.data, m.LogsRequest)
        given = m.LogsAnswer(f"log of {asked.instance}", 10)
        await message.respond(wire.encode(given))


class Rig:
    """Bus, orchestrator and root; workers join."""

    def __init__(
        self, bus: Bus, timers: Timers = TIMERS, node_subnets: str = "10.18.0.0/20"
    ) -> None:
        self.bus = bus
        self._timers = timers
        self.root: Root
        self.workers: dict[str, Worker] = {}
        self.granted: list[Root] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.config = Path(bus.layout.etc("cluster.json"))
        config = ClusterConfig(
            cluster=bus.cluster,
            prefix=str(bus.layout.prefix),
            bus=bus.access("orchestrator"),
            watcher=bus.access("watcher"),
            node_subnets=node_subnets,
            timers=timers,
        )
        self.config.write_bytes(wire.encode(config))

    def start_orchestrator(self) -> None:
        with Path(self.bus.layout.log("orchestrator")).open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(self.config)],
                stdout=output, stderr=output, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip

    def end_orchestrator(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    async def enrol(self, name: str) -> m.Answer:
        secret_hash = hashed(self.bus.new_secret(name))
        return await self.root.ask(subjects.CTL_ENROL, m.Enrolment(name, secret_hash), m.Answer)

    async def let_in(self, name: str, rules: RootRules | None = None) -> Root:
        """Another operator's root, connected."""
        secret_hash = hashed(self.bus.new_secret(granted_user(name)))
        grant = RootGrant(name, secret_hash, rules or RootRules())
        answer = await self.root.ask(subjects.CTL_ROOT, grant, m.Answer)
        assert answer.ok, answer
        self.granted.append(await Root.connect(self.bus, name))
        return self.granted[-1]

    async def join(self, name: str, its_facts: NodeFacts | None = None) -> Worker:
        if not Path(self.bus.secret_file(name)).exists():
            assert (await self.enrol(name)).ok
        number = 2 * (len(self.workers) + 1)
        its_facts = its_facts or replace(facts(), loopback_number=number)
        self.workers[name] = await Worker.join(self.bus, name, its_facts, self._timers)
        await until(f"{name} is ready", lambda: self._is_ready(name))
        return self.workers[name]

    async def running(self, service: ServiceSpec, number: int = 0) -> m.InstancePlace:
        place = await until(
            f"{service.name} {number} runs", lambda: self.root.is_running(service, number)
        )
        assert place is not None
        return place

    async def deployed(self, service: ServiceSpec, count: int = 1) -> list[m.InstancePlace]:
        """Offered, shared, and running."""
        for number in range(count):
            assert (await self.root.offer(service, number)).accepted
        assert (await self.root.share(service, 1, dict.fromkeys(range(count), 1))).ok
        return [await self.running(service, number) for number in range(count)]

    def log(self) -> str:
        return Path(self.bus.layout.log("orchestrator")).read_text()

    def _is_ready(self, name: str) -> bool:
        summary = self.root.worker(name)
        return summary is not None and summary.status == "ready"


@contextlib.asynccontextmanager
async def running_rig(
    directory: Path,
    timers: Timers = TIMERS,
    cluster: str = "edge",
    node_subnets: str = "10.18.0.0/20",
) -> AsyncIterator[Rig]:
    """A rig with bus, orchestrator and root up; everything ended afterwards."""
    rig = Rig(Bus.create(directory / "host", cluster), timers, node_subnets)
    rig.bus.start()
    rig.start_orchestrator()
    rig.root = await Root.connect(rig.bus)
    try:
        await until("the orchestrator speaks", lambda: rig.root.state)
        yield rig
    finally:
        if rig.process is not None:
            rig.end_orchestrator(signal.SIGKILL)
        for worker in rig.workers.values():
            await worker.vanish()
        for root in (rig.root, *rig.granted):
            await leave(root.client)
        rig.bus.kill()
