"""A fleet to draw, friendly or hostile, and a root that tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from oakctl.errors import OakError, Unreachable
from oakctl.model.events import Event
from oakctl.model.instance import InstanceState
from oakctl.model.messages import Aggregate, Verdict, WorkerSummary
from oakctl.model.node import NodeFacts, Usage
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.model.views import (
    ApplicationView,
    ClusterView,
    Decision,
    Explanation,
    InstanceView,
    OperationView,
    RootStatus,
    ServiceView,
    WorkerView,
)

from . import overlays

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


def storied() -> FakeRoot:
    """As `friendly`, with a story, a log and an explanation."""
    root = friendly()
    pre = root.instances_[0].name
    root.events_ = [
        Event(1, NOW - 60, "application.applied", "ar.default", "2 services"),
        Event(2, NOW - 59, "instance.placed", pre, "on w1", "", "edge"),
        Event(3, NOW - 40, "instance.creating", pre, "fetches its artifact", "", "edge"),
        Event(4, NOW - 35, "instance.failed", pre, "ended", "exit code 1", "edge"),
        Event(5, NOW - 30, "instance.running", pre, "runs on w1", "", "edge"),
        Event(6, NOW - 5, "worker.suspect", "edge/w2", "no heartbeat for 2 s", "", "edge"),
    ]
    root.log = ["listening on 10.18.0.2:80\nready\n", "frame 1\nframe 2\n"]
    verdicts = (Verdict("edge", False, 0.0, ("0 vgpus free",)), Verdict("cloud", True, 0.5, ()))
    root.explanation = Explanation(
        "ar.default.Rec.default",
        "1 of 1 waits",
        (Decision(NOW - 9, "ar.default.Rec.default.instance.0", "root", "pending", verdicts),),
        ("limits are not enforced on edge/w1",),
    )
    root.overlay = overlays.storied(NOW)
    return root


def hostile(*all_texts: str) -> FakeRoot:
    root = friendly()
    pre = root.instances_[0].name
    for number, text in enumerate(all_texts):
        root.clusters_.append(cluster(text, status=text, status_reason=text, policy=text))
        root.workers_.append(worker("edge", text, status=text))
        root.services_.append(service(text.replace(".", ""), state=text, reason=text))
        root.instances_.append(
            instance("Obj", number, f"edge/{text}", state=InstanceState.FAILED, reason=text)
        )
        root.events_.append(Event(2 * number + 2, NOW, text, text, text, text, text))
        root.events_.append(Event(2 * number + 3, NOW, text, pre, text, text, text))
        root.log += [text, "\n", text]
    text = "".join(all_texts)
    verdict = Verdict(text, False, 0.0, (text,))
    decision = Decision(NOW, text, text, text, (verdict,))
    root.explanation = Explanation(text, text, (decision,), (text,))
    root.overlay = overlays.hostile(NOW, all_texts)
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
    changes: list[tuple[object, ...]] = field(default_factory=list)  # what was asked to change
    explanation: Explanation = Explanation("ar.default.Rec.default", "1 of 1 waits")
    log: list[str] = field(default_factory=list)
    overlay: overlays.FakeOverlay = field(default_factory=overlays.FakeOverlay)

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

    async def explain(self, name: str) -> Explanation:
        self._asked()
        return self.explanation

    async def history(self, subject: str) -> list[Event]:
        self._asked()
        return [event for event in self.events_ if event.subject == subject]

    async def logs(
        self, name: str, tail_bytes: int = 65536, follow: bool = False
    ) -> AsyncIterator[str]:
        self._asked()
        for piece in self.log:
            yield piece
        if follow:
            await asyncio.Event().wait()

    async def scale(self, name: str, replicas: int) -> ServiceView:
        self.changes.append(("scale", name, replicas))
        return self.services_[0]

    async def restart(self, name: str) -> ServiceView:
        self.changes.append(("restart", name))
        return self.services_[0]

    async def migrate(self, name: str, to: str) -> ServiceView:
        self.changes.append(("migrate", name, to))
        return self.services_[0]

    async def delete_application(self, name: str) -> ApplicationView:
        self.changes.append(("delete", name))
        return ApplicationView(name, "", NOW, "deleting")

    async def cordon(self, cluster: str, name: str, cordoned: bool) -> WorkerView:
        self.changes.append(("cordon", cluster, name, cordoned))
        return self.workers_[0]

    async def drain(self, cluster: str, name: str) -> WorkerView:
        self.changes.append(("drain", cluster, name))
        return self.workers_[0]

    async def events(self, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        self._asked()
        for event in self.events_:
            if event.id > after:
                yield event
        if follow:
            await asyncio.Event().wait()


def unreachable_with(text: str) -> OakError:
    return Unreachable(text, hint=text)


def unreachable() -> OakError:
    return Unreachable("no root answers at [/sock]", hint="oakctl serve")
