"""A worker's world for tests: a real bus, a small orchestrator, the agent as a real process.

Belongs here: what several test modules need. Does not belong here: assertions on behaviour.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg

from oakctl.model import subjects, wire
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.documents import (
    DesiredDocument,
    Heartbeat,
    Report,
    StatisticsReport,
    TablesDocument,
)
from oakctl.model.instance import DesiredInstance, InstanceState, ObservedInstance
from oakctl.model.messages import (
    ChunkRequest,
    DocumentRequest,
    Greeting,
    GreetingAnswer,
    LoginAnswer,
    LoginRequest,
    LogsAnswer,
    LogsRequest,
    ReportAnswer,
    SecretsAnswer,
    SecretsRequest,
)
from oakctl.model.overlay_report import OverlayReport
from oakctl.model.secrets import SecretValue, encoded
from oakctl.model.service import RestartPolicy, ServiceSpec
from oakctl.orchestration import bus as bus_client
from oakctl.orchestration.worker import cgroup, memory, procfs
from tests import waiting
from tests.bus_fixture import Bus

WORKER = "w1"
DEADLINE_S = 30.0


async def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    await waiting.until(what, condition, wait_s=deadline_s, step_s=0.02)


def artifact(
    program: str = "", *, command: tuple[str, ...] = (), extra: dict[str, bytes] | None = None
) -> tuple[str, bytes]:
    """(sha256, tar.gz) of an artifact that runs `program` (Python) or `command`."""
    command = command or ("{python}", "{artifact}/main.py")
    files = {"oakctl-artifact.json": json.dumps({"command": command, "name": "t"}).encode()}
    files["main.py"] = program.encode()
    files.update(extra or {})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(buffer.getvalue()).hexdigest(), buffer.getvalue()


def spec(code: str, name: str = "srv", **changes: object) -> ServiceSpec:
    """A service of the application `app.ns`, restarted quickly."""
    quick = RestartPolicy(backoff_s=0.05, backoff_max_s=0.2)
    base = ServiceSpec(
        job_name=f"app.ns.{name}.ns",
        application="app.ns",
        virtualization="process",
        code=code,
        restart=quick,
        grace_s=2.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def desired(service: ServiceSpec, number: int = 0, epoch: int = 1) -> DesiredInstance:
    """An instance of it with an address of its own."""
    return DesiredInstance(service, number, epoch, f"10.18.0.{70 + number}")


@dataclass
class Orchestrator:
    """Answers one worker as a cluster orchestrator does, and remembers what it was told."""

    client: Client
    desired: DesiredDocument = field(default_factory=lambda: DesiredDocument(WORKER, 0, ""))
    tables: TablesDocument = field(default_factory=lambda: TablesDocument(WORKER, 0))
    artifacts: dict[str, bytes] = field(default_factory=dict)
    accepted: bool = True
    acknowledges: bool = True
    greetings: list[Greeting] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    statistics: list[StatisticsReport] = field(default_factory=list)
    overlays: list[OverlayReport] = field(default_factory=list)
    chunks: list[ChunkRequest] = field(default_factory=list)
    secrets: dict[str, bytes] = field(default_factory=dict)
    secrets_asked: list[str] = field(default_factory=list)
    login: SecretValue | None = None

    @classmethod
    async def connect(cls, bus: Bus) -> Orchestrator:
        """On the bus, listening to every worker."""
        client = await bus_client.connect(
            bus.access("orchestrator"), name="orchestrator", wait_s=20
        )
        orchestrator = cls(client)
        for subject, callback in (
            ("ask.*.>", orchestrator._on_ask),
            ("obs.*.>", orchestrator._on_observed),
            ("hb.*", orchestrator._on_heartbeat),
        ):
            await client.subscribe(subject, cb=callback)
        await client.flush()
        return orchestrator

    async def want(self, *instances: DesiredInstance) -> None:
        """A new revision of the worker's document, pushed."""
        revision = self.desired.revision + 1
        self.desired = DesiredDocument(WORKER, revision, "10.18.0.64/26", instances)
        await self.push(self.desired)

    async def push(self, document: DesiredDocument) -> None:
        """Publish a document, whatever its revision."""
        subject = subjects.command(WORKER, subjects.CMD_DESIRED)
        await self.client.publish(subject, wire.encode(document))

    async def logs(self, instance: str, offset: int = 0, wait_s: float = 0.0) -> LogsAnswer:
        """Ask the worker."""
        subject = subjects.command(WORKER, subjects.CMD_LOGS)
        request = LogsRequest(instance, offset, wait_s=wait_s)
        return await bus_client.ask(self.client, subject, request, LogsAnswer, timeout_s=20)

    def seen(self, name: str) -> ObservedInstance | None:
        """What the newest report says of an instance."""
        newest = self.reports[-1].instances if self.reports else ()
        return next((instance for instance in newest if instance.name == name), None)

    def state(self, name: str) -> InstanceState | None:
        """Its state in the newest report."""
        seen = self.seen(name)
        return seen.state if seen else None

    async def reaches(self, name: str, state: InstanceState, epoch: int = 1) -> ObservedInstance:
        """Wait until an instance is reported in this state."""

        def holds() -> bool:
            seen = self.seen(name)
            return seen is not None and seen.state is state and seen.epoch == epoch

        try:
            await until(holds, f"{name} to be {state.value}")
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen: {self.seen(name)}") from error
        seen = self.seen(name)
        assert seen is not None
        return seen

    async def _on_ask(self, message: Msg) -> None:
        what = message.subject.split(".", 2)[2]
        if not subjects.replies_to_worker(message.subject, message.reply):
            return
        if what == subjects.ASK_GREETING:
            self.greetings.append(wire.decode(message.data, Greeting))
            answer = GreetingAnswer(self.accepted, reason="" if self.accepted else "not enrolled")
            await message.respond(wire.encode(answer))
        elif what == subjects.ASK_CHUNK:
            await self._answer_chunk(message)
        elif what == subjects.ASK_SECRETS:
            self.secrets_asked.append(wire.decode(message.data, SecretsRequest).instance)
            given = (SecretValue(n, 1, encoded(v)) for n, v in self.secrets.items())
            await message.respond(wire.encode(SecretsAnswer(tuple(given))))
        elif what == subjects.ASK_LOGIN:
            assert wire.decode(message.data, LoginRequest).image
            await message.respond(wire.encode(LoginAnswer(self.login)))
        else:
            document = self.desired if what == subjects.ASK_DESIRED else self.tables
            have = wire.decode(message.data, DocumentRequest).have
            news = document.revision > have
            await message.respond(wire.encode(document) if news else b"")

    async def _answer_chunk(self, message: Msg) -> None:
        request = wire.decode(message.data, ChunkRequest)
        self.chunks.append(request)
        content = self.artifacts.get(request.sha256)
        if content is None:
            headers = {subjects.HEADER_ERROR: "no such artifact"}
            await self.client.publish(message.reply, b"", headers=headers)
            return
        piece = content[request.offset : request.offset + request.length]
        headers = {subjects.HEADER_SIZE: str(len(content))}
        await self.client.publish(message.reply, piece, headers=headers)

    async def _on_observed(self, message: Msg) -> None:
        if ".frame." in message.subject:
            return
        if message.subject.endswith(subjects.OBS_STATISTICS):
            self.statistics.append(wire.decode(message.data, StatisticsReport))
            return
        if message.subject.endswith(subjects.OBS_OVERLAY):
            self.overlays.append(wire.decode(message.data, OverlayReport))
            return
        report = wire.decode(message.data, Report)
        if self.acknowledges:
            self.reports.append(report)
            await message.respond(wire.encode(ReportAnswer(report.seq)))

    async def _on_heartbeat(self, message: Msg) -> None:
        self.heartbeats.append(wire.decode(message.data, Heartbeat))


@dataclass
class AgentProcess:
    """The agent as a supervisor starts it."""

    config: WorkerConfig
    prefix: Path
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, bus: Bus, prefix: Path, **changes: object) -> AgentProcess:
        """Files for a worker that is enrolled; nothing runs yet."""
        prefix.mkdir(parents=True, exist_ok=True)
        config = WorkerConfig(
            worker=WORKER,
            cluster=bus.cluster,
            prefix=str(prefix),
            bus=bus.access(WORKER),
            loopback_number=random.randrange(100, 250, 2),
            heartbeat_s=0.2,
        )
        config = replace(config, **changes)  # type: ignore[arg-type]
        (prefix / "worker.json").write_bytes(wire.encode(config))
        return cls(config, prefix)

    @classmethod
    def create_beside(cls, other: AgentProcess, prefix: Path, **changes: object) -> AgentProcess:
        """The same worker with another prefix."""
        prefix.mkdir(parents=True)
        config = replace(other.config, prefix=str(prefix), **changes)  # type: ignore[arg-type]
        (prefix / "worker.json").write_bytes(wire.encode(config))
        return cls(config, prefix)

    @property
    def log(self) -> str:
        """What the agent has said so far."""
        path = self.prefix / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, **options: object) -> None:
        """Start it; the log goes on."""
        assert self.process is None or self.process.poll() is not None
        config = str(self.prefix / "worker.json")
        with (self.prefix / "agent.log").open("ab") as output:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                [sys.executable, "-m", "oakctl.node", "worker", "--config", config],
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def instance(self, name: str) -> Path:
        """The directory of an instance."""
        return Path(HostLayout(str(self.prefix)).instance(name))

    def processes(self, name: str = "") -> list[int]:
        """Live processes of an instance (or all) here, without shims: told by their HOME."""
        home = str(self.instance(name) / "work") if name else str(self.prefix / "instances")
        found = []
        for stat in procfs.all_stats():
            try:
                environ = (procfs.PROC / str(stat.pid) / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            marks = [v for v in environ if v.startswith(f"HOME={home}".encode())]
            if marks and stat.state not in "ZX":
                found.append(stat.pid)
        return found

    def shims(self) -> list[int]:
        """Live shims below this prefix."""
        found = []
        for stat in procfs.all_stats():
            try:
                words = (procfs.PROC / str(stat.pid) / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"oakctl-shim" in words and any(str(self.prefix).encode() in w for w in words):
                found.append(stat.pid)
        return found

    def destroy(self) -> None:
        """End everything that was started below the prefix."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        end = time.monotonic() + DEADLINE_S
        while pids := self.processes() + self.shims():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            assert time.monotonic() < end, f"these do not end: {pids}"
            time.sleep(0.02)
        limits = cgroup.probe(cgroup.node_group(str(self.prefix)))
        limits.sweep(set())
        limits.close()
        memory.clear(str(self.prefix))
