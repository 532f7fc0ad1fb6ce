"""A cluster orchestrator in a few lines on a real bus, and an installer that needs no SSH.

Belongs here: what the root's tests need of the other side. Its answers follow the contract and
nothing more; the real orchestrator has its own tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.model import subjects, wire
from oakctl.model.documents import ServiceTable
from oakctl.model.instance import InstanceState, InstanceStatistics, ObservedInstance
from oakctl.model.messages import (
    Aggregate,
    Answer,
    ClusterEvent,
    ClusterState,
    ClusterStatistics,
    Enrolment,
    InstancePlace,
    LogsAnswer,
    LogsRequest,
    Offer,
    OfferAnswer,
    SecretsChange,
    Settings,
    Share,
    Slot,
    Upload,
    UploadAnswer,
    Verdict,
    WorkerChange,
    WorkerSummary,
)
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.overlay_asking import OverlayAnswer, OverlayQuestion
from oakctl.model.requests import PlaybookRun
from oakctl.model.resources import Resources
from oakctl.model.secrets import SecretValue
from oakctl.model.service import ServiceAddresses
from oakctl.model.views import HostFinding, HostView, StepEvent
from oakctl.orchestration import bus as bus_client
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root.installer import Report, Role
from oakctl.orchestration.root.links import TunnelLike
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, Survey, WorkerInputs
from oakctl.remote.facts import HostFacts
from tests.bus_fixture import Bus, hashed

CAPACITY = Resources(vcpus=8, memory_mb=8192, storage_mb=8192)


@dataclass
class FakeCluster:
    """Takes up to `room` instances, which run at once; keeps its state over `restart`."""

    bus: Bus
    name: str
    room: int = 100
    instances: dict[tuple[str, int], int] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)
    share_bodies: dict[str, Share] = field(default_factory=dict)
    artifacts: dict[str, bytearray] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    workers: dict[str, bool] = field(default_factory=dict)  # name → cordoned
    tables: tuple[ServiceTable, ...] = ()
    foreign: dict[tuple[str, str], ServiceTable] = field(default_factory=dict)
    policy: str = ""
    offers: list[Offer] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # subjects that are not answered
    secrets: dict[str, SecretValue] = field(default_factory=dict)
    refuses: str = ""  # why it takes no share
    unready: set[int] = field(default_factory=set)  # numbers that never become ready
    log_text: str = ""
    overlay: OverlayAnswer | None = None
    overlay_asked: list[OverlayQuestion] = field(default_factory=list)
    seq: int = 0
    release: str = ""
    session: str = ""
    client: Client | None = None
    ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and answer."""
        self.session, self.seq = uuid.uuid4().hex, 0
        self.client = await bus_client.connect(self.bus.access("orchestrator"), name="fake")
        for subject, kind, handler in (
            (subjects.CTL_OFFER, Offer, self._offer),
            (subjects.CTL_EXPLAIN, Offer, self._explain),
            (subjects.CTL_SHARE, Share, self._share),
            (subjects.CTL_ENROL, Enrolment, self._enrol),
            (subjects.CTL_WORKER, WorkerChange, self._worker),
            (subjects.CTL_SETTINGS, Settings, self._settings),
            (subjects.CTL_TABLE, ServiceTable, self._table),
            (subjects.CTL_SECRETS, SecretsChange, self._secrets),
            (subjects.CTL_LOGS, LogsRequest, self._logs),
            (subjects.CTL_OVERLAY, OverlayQuestion, self._overlay),
        ):
            await self.client.subscribe(subject, cb=self._answering(subject, kind, handler))
        await self.client.subscribe(subjects.CTL_STATE, cb=self._answer_state)
        await self.client.subscribe(subjects.CTL_UPLOAD, cb=self._answer_upload)
        self.ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Gone, with its state kept."""
        if self.ticker is not None:
            self.ticker.cancel()
            await asyncio.gather(self.ticker, return_exceptions=True)
        if self.client is not None:
            await self.client.close()
        self.client = self.ticker = None

    async def event(self, event: ClusterEvent) -> Answer:
        """Tell the root of something, as a cluster does."""
        assert self.client is not None
        return await bus_client.ask(self.client, subjects.UP_EVENT, event, Answer, timeout_s=5)

    def _answering(
        self, subject: str, kind: type[Any], handler: Callable[[Any], Any]
    ) -> Callable[[Msg], Awaitable[None]]:
        async def answer(message: Msg) -> None:
            result = handler(wire.decode(message.data, kind))
            if subject not in self.silent:
                await message.respond(wire.encode(result))
            await self._publish_state()

        return answer

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._publish_state()
            statistics = ClusterStatistics(
                self.name,
                time.time(),
                tuple(
                    InstanceStatistics(job, number, time.time(), 12.5, 20.0, {"ar_fps": 20.0})
                    for job, number in self.instances
                ),
            )
            if self.client is not None:
                await self.client.publish(subjects.UP_STATISTICS, wire.encode(statistics))

    async def _publish_state(self) -> None:
        if self.client is not None:
            await self.client.publish(subjects.UP_STATE, wire.encode(self.state()))

    async def _answer_state(self, message: Msg) -> None:
        await message.respond(wire.encode(self.state()))

    def state(self) -> ClusterState:
        """What it tells the root."""
        self.seq += 1
        free = Resources(vcpus=8 - 0.01 * len(self.instances), memory_mb=8192, storage_mb=8192)
        now = time.time()
        aggregate = Aggregate(
            self.name,
            now,
            self.policy or "rom",
            1,
            CAPACITY,
            free,
            (Slot("x86_64", free),),
            ("process",),
        )
        return ClusterState(
            self.name,
            self.session,
            self.seq,
            now,
            aggregate,
            tuple(self._place(job, number, e) for (job, number), e in self.instances.items()),
            tuple(self._summary(worker) for worker in self.workers),
            dict(self.shares),
            self.tables,
            release=self.release,
            secrets={name: one.version for name, one in self.secrets.items()},
        )

    def _place(self, job: str, number: int, epoch: int) -> InstancePlace:
        ready = number not in self.unready
        observed = ObservedInstance(
            job, number, epoch, InstanceState.RUNNING, time.time(), ready=ready, pid=4711
        )
        return InstancePlace(observed, "w1")

    def _summary(self, worker: str) -> WorkerSummary:
        facts = NodeFacts(worker, "x86_64", "Debian", "3.11", CAPACITY, release=self.release)
        return WorkerSummary(
            worker, "ready", self.workers[worker], facts, Usage(), Resources(), time.time()
        )

    def _offer(self, offer: Offer) -> OfferAnswer:
        self.offers.append(offer)
        needs = offer.service.code
        if offer.service.virtualization == "process" and needs not in self.complete:
            return OfferAnswer(False, reason="the artifact is not here")
        answer = self._explain(offer)
        if answer.accepted:
            key = offer.service.job_name, offer.number
            self.instances[key] = max(offer.epoch, self.instances.get(key, 0))
        return answer

    def _explain(self, offer: Offer) -> OfferAnswer:
        key = offer.service.job_name, offer.number
        if offer.worker not in ("", *self.workers):
            refused = Verdict(offer.worker, False, reasons=("there is no such worker",))
            return OfferAnswer(False, verdicts=(refused,))
        if key not in self.instances and len(self.instances) >= self.room:
            return OfferAnswer(False, verdicts=(Verdict("w1", False, reasons=("it is full",)),))
        return OfferAnswer(True, "w1", (Verdict("w1", True, 1.0, ("has room",)),))

    def _share(self, share: Share) -> Answer:
        if share.revision < self.shares.get(share.job_name, 0):
            return Answer(False, "late")
        if self.refuses:
            return Answer(False, self.refuses)
        self.share_bodies[share.job_name] = share
        kept = {key: e for key, e in self.instances.items() if key[0] != share.job_name}
        wanted = share.instances if share.service is not None else {}
        self.instances = {**kept, **{(share.job_name, n): e for n, e in wanted.items()}}
        if share.service is None:
            self.shares.pop(share.job_name, None)
        else:
            self.shares[share.job_name] = share.revision
        return Answer(True)

    def _enrol(self, enrolment: Enrolment) -> Answer:
        assert enrolment.bcrypt_hash.startswith("$2b$04$")
        return Answer(True)

    def _worker(self, change: WorkerChange) -> Answer:
        if change.drain or change.remove:
            self.instances.clear()
        if change.remove:
            self.workers.pop(change.worker, None)
        elif change.drain:
            self.workers[change.worker] = True
        elif change.cordoned is not None:
            self.workers[change.worker] = change.cordoned
        return Answer(True)

    def _settings(self, settings: Settings) -> Answer:
        self.policy = settings.policy or self.policy
        return Answer(True)

    def _table(self, table: ServiceTable) -> Answer:
        self.foreign[table.job_name, table.cluster] = table
        return Answer(True)

    def _secrets(self, change: SecretsChange) -> Answer:
        self.secrets |= {one.name: one for one in change.put}
        for name in change.forget:
            self.secrets.pop(name, None)
        return Answer(True)

    def _overlay(self, question: OverlayQuestion) -> OverlayAnswer:
        self.overlay_asked.append(question)
        return self.overlay or OverlayAnswer(self.name)

    def _logs(self, request: LogsRequest) -> LogsAnswer:
        start = (
            max(0, len(self.log_text) + request.offset) if request.offset < 0 else request.offset
        )
        data = self.log_text[start : start + request.limit]
        return LogsAnswer(data, start + len(data), ended=start + len(data) == len(self.log_text))

    async def _answer_upload(self, message: Msg) -> None:
        assert message.headers is not None
        upload = wire.decode(message.headers[subjects.HEADER_UPLOAD], Upload)
        there = self.artifacts.setdefault(upload.sha256, bytearray())
        if upload.offset == len(there):
            there.extend(message.data)
        if hashlib.sha256(there).hexdigest() == upload.sha256:
            self.complete.add(upload.sha256)
        await message.respond(wire.encode(UploadAnswer(len(there))))


class PlainTunnel:
    """The bus listens here: nothing to forward."""

    def __init__(self, port: int) -> None:
        self.local_port = port
        self.connected = True
        self.last_error = ""

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""


@dataclass
class FakeInstaller:
    """Hands out buses that run already; `calls` is what it was asked for."""

    buses: dict[str, Bus]
    clusters: dict[str, FakeCluster] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    holds: bool = False  # whether a look finds nothing to do
    fail: Exception | None = None
    unreached: Exception | None = None  # raised before anything is begun
    hold: threading.Event | None = None

    def _begin(self, what: str, host: HostView, report: Report, cancelled: threading.Event) -> None:
        self.calls.append((what, host.name))
        if self.unreached is not None:
            raise self.unreached
        report(StepEvent(time.time(), host.name, f"{what}: install", "running"))
        while self.hold is not None and not self.hold.wait(0.02):
            if cancelled.is_set():
                return
        if self.fail is not None:
            raise self.fail
        report(StepEvent(time.time(), host.name, f"{what}: install", "done", seconds=0.1))

    def cluster(
        self,
        host: HostView,
        accept_new: bool,
        inputs: ClusterInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> ClusterAccess:
        self._begin("cluster", host, report, cancelled)
        bus = self.buses[inputs.cluster]
        bus.users["root"]["hash"] = hashed(inputs.root_secret)
        bus_server.apply_users(bus.layout, bus.users)
        ca = Path(bus.layout.etc("bus/ca.pem")).read_text()
        return ClusterAccess("127.0.0.1", bus.port, "127.0.0.1", bus.port, ca, inputs.cluster)

    def worker(
        self,
        host: HostView,
        accept_new: bool,
        inputs: WorkerInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        self._begin("worker", host, report, cancelled)
        self.clusters[inputs.cluster].workers[inputs.worker] = False

    def facts(self, host: HostView, accept_new: bool) -> HostFacts:
        self.calls.append(("facts", host.name))
        if self.fail is not None:
            raise self.fail
        return HostFacts(hostname=host.name, uid=0, privilege="root", init="systemd", home="/root")

    async def reach(
        self,
        hosts: Sequence[HostView],
        orchestrator: HostView,
        accept_new: bool,
        facts: HostFacts,
    ) -> list[HostFinding]:
        self.calls.append(("reach", orchestrator.name))
        return [HostFinding(h.name, "block", "reach", f"not {facts.hostname}") for h in hosts]

    def remove(self, host: HostView, role: str, report: Report, cancelled: threading.Event) -> None:
        self._begin(f"remove {role}", host, report, cancelled)

    def forget_key(self, host: HostView) -> None:
        self.calls.append(("forget key", host.name))

    def survey(self, host: HostView, accept_new: bool, roles: Sequence[Role]) -> Survey:
        self.roles.extend(roles)
        state, word = ("skipped", "holds already") if self.holds else ("planned", "missing")
        step = StepEvent(time.time(), host.name, "it: install", state, word)
        return Survey(self.facts(host, accept_new), ((step,),) * len(roles))

    def roll_back(
        self, host: HostView, role: str, bad: str, report: Report, cancelled: threading.Event
    ) -> tuple[str, ...]:
        self.calls.append((f"roll back {role}", host.name))
        return ("it broke",)

    def playbook(
        self, host: HostView, run: PlaybookRun, report: Report, cancelled: threading.Event
    ) -> None:
        self._begin(f"playbook {run.name}", host, report, cancelled)

    def tunnel(self, host: HostView, access: ClusterAccess) -> TunnelLike:
        return PlainTunnel(access.bus_port)


def table(job: str, cluster: str, generation: int) -> ServiceTable:
    """A table without targets."""
    return ServiceTable(job, cluster, generation, ServiceAddresses("10.30.1.1", "10.30.1.2"))
