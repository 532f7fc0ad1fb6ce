"""After a removal nothing of a worker runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.model import wire
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.instance import InstanceState
from oakctl.model.resources import Resources
from oakctl.node import __main__
from oakctl.orchestration.worker import cgroup, clear, kernel_overlay, memory
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec

PROGRAM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
time.sleep(600)
"""


async def test_clear_ends_instances_and_shims_and_groups(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    sha, content = artifact(PROGRAM)
    orchestrator.artifacts[sha] = content
    agent.start()
    service = spec(sha, requests=Resources(memory_mb=64))
    await orchestrator.want(desired(service), desired(service, 1))
    for wanted in orchestrator.desired.instances:
        await orchestrator.reaches(wanted.name, InstanceState.RUNNING)
    agent.kill()
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) == 0
    assert agent.processes() == []
    assert agent.shims() == []
    name = cgroup.node_group(str(agent.prefix))
    roots = (base.directory for base in cgroup.probe(name).bases)
    left = [root for root in roots if root.exists() and list(root.glob("*/"))]
    cgroup.probe(name).close()
    assert left == []
    assert __main__.main(["clear", "--prefix", str(agent.prefix)]) == 0


def test_secrets_go_also_where_the_overlay_stays(
    agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: WorkerConfig) -> None:
        raise OakError("the kernel overlay cannot be taken away")

    monkeypatch.setattr(kernel_overlay, "remove", refuse)
    installed = Path(HostLayout(str(agent.prefix)).etc("worker.json"))
    installed.parent.mkdir(parents=True, exist_ok=True)
    installed.write_bytes(wire.encode(agent.config))
    place = memory.place(str(agent.prefix))
    memory.Memory(place).write("a.b.c.d.instance.0", b"{}", {"key": b"secret"})
    with pytest.raises(OakError):
        clear.clear(str(agent.prefix))
    assert not place.exists()


def test_clear_of_nothing(tmp_path: Path) -> None:
    assert __main__.main(["clear", "--prefix", str(tmp_path)]) == 0
