"""What a demonstration found, and whether that is good.

Belongs here: the report's shape (`oakctl demo --report`), and the verdict, pure. Does not
belong here: measuring (`watch`), or the steps themselves (`runner`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oakctl.model.messages import ProcessUse
from oakctl.model.views import ClusterView, InstanceView, RootStatus, WorkerView

LABELS_RIGHT_AT_LEAST = 0.95
FPS_AT_LEAST = 10.0


@dataclass(frozen=True)
class StepResult:
    """One step. `message`: what came of it, or why it failed; `hint`: what to type next."""

    name: str
    ok: bool
    seconds: float
    message: str = ""
    hint: str = ""
    details: tuple[str, ...] = ()  # further lines of the error

    @property
    def fault(self) -> str:
        """What went wrong in it, in one line."""
        return "; ".join((f"{self.name}: {self.message}", *self.details))


@dataclass(frozen=True)
class Measured:
    """The application, watched for a while. `latency_ms` from a frame's making to its labels."""

    frames: int = 0
    fps: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p95_ms: float = 0.0
    labels_right: float = 0.0


@dataclass(frozen=True)
class SshUse:
    """What a host's SSH server wrote down."""

    logins: int
    commands: int


@dataclass(frozen=True)
class Report:
    """The whole demonstration."""

    steps: tuple[StepResult, ...] = ()
    hosts: int = 0
    measured: Measured = Measured()
    placements: dict[str, str] = field(default_factory=dict)  # instance → "cluster/worker"
    processes: dict[str, ProcessUse] = field(default_factory=dict)  # "edge/w1:agent", "root"
    ssh: dict[str, SshUse] = field(default_factory=dict)  # host → what was done there
    logs: str = ""  # directory

    @property
    def faults(self) -> tuple[str, ...]:
        """Why this is no success, in words; empty: it is one."""
        faults = [step.fault for step in self.steps if not step.ok]
        if faults or not self.steps:
            return tuple(faults or ("nothing was done",))
        if self.measured.fps < FPS_AT_LEAST:
            faults.append(f"{self.measured.fps:.1f} frames per second, not {FPS_AT_LEAST:.0f}")
        if self.measured.labels_right < LABELS_RIGHT_AT_LEAST:
            right, wanted = self.measured.labels_right, LABELS_RIGHT_AT_LEAST
            faults.append(f"{right:.1%} of the labels are right, not {wanted:.0%}")
        faults += [
            f"{host}: nothing was installed over SSH"
            for host, use in self.ssh.items()
            if not (use.logins and use.commands)
        ]
        return tuple(faults)

    @property
    def ok(self) -> bool:
        """Whether everything was done, was fast and right enough, and left nothing."""
        return not self.faults

    @property
    def hint(self) -> str:
        """What to type next when it is not ok."""
        hints = [step.hint for step in self.steps if not step.ok and step.hint]
        return hints[0] if hints else (f"the logs are in {self.logs}" if self.logs else "")


def to_json(report: Report) -> str:
    """The file that `--report` writes."""
    measured = report.measured
    body: dict[str, Any] = {
        "ok": report.ok,
        "faults": list(report.faults),
        "steps": [
            {
                "name": step.name,
                "ok": step.ok,
                "seconds": round(step.seconds, 3),
                "message": step.message,
            }
            for step in report.steps
        ],
        "hosts": report.hosts,
        "frames": measured.frames,
        "fps": round(measured.fps, 2),
        "latency_ms": {
            "p50": round(measured.latency_p50_ms, 2),
            "p95": round(measured.latency_p95_ms, 2),
        },
        "labels_right": round(measured.labels_right, 4),
        "placements": report.placements,
        "rss_mb": {key: round(use.rss_mb, 1) for key, use in report.processes.items()},
        "cpu_percent": {key: round(use.cpu_percent, 2) for key, use in report.processes.items()},
        "ssh": {
            host: {"logins": use.logins, "commands": use.commands}
            for host, use in report.ssh.items()
        },
        "logs": report.logs,
    }
    return json.dumps(body, indent=2) + "\n"


def placements(instances: Iterable[InstanceView]) -> dict[str, str]:
    """Where each instance is: name → "cluster/worker"."""
    return {
        one.name: f"{one.cluster}/{one.worker}"
        for one in sorted(instances, key=lambda one: one.name)
        if one.worker
    }


def processes(
    root: RootStatus, clusters: Iterable[ClusterView], workers: Iterable[WorkerView]
) -> dict[str, ProcessUse]:
    """Memory and CPU of every process of ours: "edge:bus", "edge/w1:agent", "root"."""
    found: dict[str, ProcessUse] = {}
    for cluster in clusters:
        for name, use in cluster.processes.items():
            found[f"{cluster.name}:{name}"] = use
    for worker in workers:
        if worker.summary is None:
            continue
        usage, key = worker.summary.usage, f"{worker.cluster}/{worker.name}"
        found[f"{key}:agent"] = ProcessUse(usage.agent_rss_mb, usage.agent_cpu_percent)
        if usage.relay_rss_mb:  # only the loopback overlay has one
            found[f"{key}:relay"] = ProcessUse(usage.relay_rss_mb, usage.relay_cpu_percent)
    found["root"] = ProcessUse(root.rss_mb, root.cpu_percent)
    return dict(sorted(found.items()))


def ssh_use(log: str, hosts: Iterable[str]) -> dict[str, SshUse]:
    """What `ssh.log` says of each host."""
    counts: Mapping[str, list[int]] = {host: [0, 0] for host in hosts}
    for line in log.splitlines():
        _, host, event = (*line.split(" ", 2), "", "", "")[:3]
        if host in counts:
            counts[host][0] += event.startswith("login ")
            counts[host][1] += event.startswith(("exec ", "sftp"))
    return {host: SshUse(*count) for host, count in counts.items()}
