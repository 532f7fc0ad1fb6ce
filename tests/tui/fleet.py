"""A fleet to draw, friendly or hostile, and a root that tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from oakctl.errors import OakError, Unreachable
from oakctl.model.events import Event
from oakctl.model.instance import InstanceState
from oakctl.model.messages import Aggregate, WorkerSummary
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.model.views import (
    ClusterView,
    InstanceView,
    OperationView,
    RootStatus,
    ServiceView,
    WorkerView,
)

NOW = 1_000_000.0
HOSTILE = (
    "[/",
    "[/x]",
    "[red]red",
    "[@click=app.quit]press",
    "\x1b[31mred\x1b[?1049h",
    "\x00\x07\x9b2J\u202egnp",
    "two\nlines\r\n",
    "x" * 90_000,
)


def cluster(name: str, **changes: object) -> ClusterView:
    total = Resources(vcpus=8, memory_mb=4096, vgpus=2)
    values: dict[str, object] = {
        "name": name,
        "status": "ready",
        "status_reason": "",
        "host": name,
        "policy": "rom",
        "location": None,
        "workers_ready": 1,
        "workers_total": 1,
        "instances": 1,
        "last_seen": NOW - 1,
        "aggregate": Aggregate(name, NOW, "rom", 1, total, total - Resources(vcpus=0.5)),
    }
    return ClusterView(**{**values, **changes})  # type: ignore[arg-type]


def worker(
    cluster_name: str, name: str, *, status: str = "ready", cordoned: bool = False
) -> WorkerView:
    facts = NodeFacts(
        name, "x86_64", "Debian", "3.11", Resources(2, 512, vgpus=1), declared=("vgpus",)
    )
    summary = WorkerSummary(
        name, status, cordoned, facts, Usage(cpu_percent=12), Resources(0.5, 64), NOW - 2
    )
    return WorkerView(name, cluster_name, name, status, 1, summary)


def instance(
    service: str,
    number: int,
    where: str = "",
    *,
    state: InstanceState = InstanceState.RUNNING,
    reason: str = "",
) -> InstanceView:
    cluster_name, _, worker_name = where.partition("/")
    job = f"ar.default.{service}.default"
    return InstanceView(
        name=f"{job}.instance.{number}",
        job_name=job,
        number=number,
        epoch=1,
        state=state,
        ready=state is InstanceState.RUNNING,
        since=NOW - 30,
        cluster=cluster_name,
        worker=worker_name,
        reason=reason,
        pid=42,
        cpu_percent=7,
        memory_mb=33,
    )


def service(
    name: str, *, state: str = "ready", ready: int = 1, wanted: int = 1, reason: str = ""
) -> ServiceView:
    job = f"ar.default.{name}.default"
    spec = ServiceSpec(job, "ar.default", "process", "0" * 64)
    return ServiceView(
        job, "ar.default", name, wanted, ready, ready, state, reason, spec, "10.30.0.1"
    )


def friendly() -> FakeRoot:
    return FakeRoot(
        clusters_=[cluster("edge"), cluster("cloud")],
        workers_=[worker("edge", "w1"), worker("edge", "w2"), worker("cloud", "w1")],
        services_=[service("Pre"), service("Rec", state="pending", ready=0)],
        instances_=[
            instance("Pre", 0, "edge/w1"),
            instance("Rec", 0, state=InstanceState.REQUESTED, reason="0 vgpus free"),
        ],
        events_=[Event(1, NOW, "instance.running", "Pre.0", "runs on w1")],
    )


def hostile(text: str) -> FakeRoot:
    root = friendly()
    root.clusters_.append(cluster(text, status=text, status_reason=text, policy=text, host=text))
    root.workers_.append(worker("edge", text, status=text))
    root.services_.append(service(text.replace(".", ""), state=text, reason=text))
    root.instances_.append(
        instance("Obj", 0, f"edge/{text}", state=InstanceState.FAILED, reason=text)
    )
    root.events_.append(Event(2, NOW, text, text, text, text, text))
    return root


@dataclass
class FakeRoot:
    """Answers from lists; `failing` makes every question fail."""

    clusters_: list[ClusterView] = field(default_factory=list)
    workers_: list[WorkerView] = field(default_factory=list)
    services_: list[ServiceView] = field(default_factory=list)
    instances_: list[InstanceView] = field(default_factory=list)
    events_: list[Event] = field(default_factory=list)
    operations_: list[OperationView] = field(default_factory=list)
    failing: Exception | None = None
    questions: int = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeRoot]:
        yield self

    def _asked(self) -> None:
        self.questions += 1
        if self.failing is not None:
            raise self.failing

    async def status(self) -> RootStatus:
        self._asked()
        return RootStatus("0.1.0", 77, NOW, "/state", 2, 3, 1, 1, 1)

    async def clusters(self) -> list[ClusterView]:
        self._asked()
        return self.clusters_

    async def workers(self) -> list[WorkerView]:
        self._asked()
        return self.workers_

    async def services(self) -> list[ServiceView]:
        self._asked()
        return self.services_

    async def instances(self) -> list[InstanceView]:
        self._asked()
        return self.instances_

    async def operations(self) -> list[OperationView]:
        self._asked()
        return self.operations_

    async def events(self, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        self._asked()
        for event in self.events_:
            if event.id > after:
                yield event
        if follow:
            await asyncio.Event().wait()


def unreachable() -> OakError:
    return Unreachable("no root answers at [/sock]", hint="oakctl serve")
