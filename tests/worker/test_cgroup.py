"""Limits: what the kernel's files mean on v1, hybrid and v2, and real groups where permitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from oakctl.model.instance import InstanceState
from oakctl.model.resources import Resources
from oakctl.model.service import RestartPolicy
from oakctl.orchestration.worker import cgroup, cgroup_layout
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

V2 = "24 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "25 30 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "26 30 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "27 30 0:24 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "28 30 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    "29 30 0:26 / /proc rw - proc proc rw\n"
)
NAME = "app.ns.srv.ns.instance.0"


def test_mounts_of_v2_and_hybrid() -> None:
    (only,) = cgroup_layout.mounts(V2)
    assert (only.version, only.path) == (2, "/sys/fs/cgroup")
    found = cgroup_layout.mounts(HYBRID)
    assert [(m.version, sorted(m.controllers)) for m in found] == [
        (2, []),
        (1, ["cpu"]),
        (1, ["memory"]),
    ]


def test_own_groups() -> None:
    groups = cgroup_layout.own_groups("5:cpu,cpuacct:/a\n4:memory:/b/c\n0::/d\n")
    assert groups == {"cpu": "/a", "cpuacct": "/a", "memory": "/b/c", "": "/d"}


@pytest.mark.parametrize(
    ("root", "group", "directory"),
    [
        ("/", "/a/b", "/m/a/b"),
        ("/", "/", "/m"),
        ("/docker/1", "/docker/1", "/m"),
        ("/docker/1", "/docker/1/x", "/m/x"),
        ("/docker/1", "/elsewhere", "/m"),
    ],
)
def test_inside(root: str, group: str, directory: str) -> None:
    mount = cgroup_layout.Mount(1, "/m", root, frozenset())
    assert cgroup_layout.inside(mount, group) == directory


def test_settings_and_what_they_read_back() -> None:
    for version, memory in ((1, "memory.limit_in_bytes"), (2, "memory.max")):
        values = {}
        words = []
        for controller in cgroup_layout.CONTROLLERS:
            found = cgroup_layout.settings(version, controller, vcpus=0.5, memory_mb=64, pids=9)
            values = {setting.file: setting.value for setting in found}
            words.append(cgroup_layout.in_words(version, controller, values))
            assert (memory in values) == (controller == "memory")
        assert words == ["cpu 0.5", "memory 64 MiB", "pids 9"]
        assert cgroup_layout.settings(version, "cpu", vcpus=0, memory_mb=0, pids=0) == ()
        assert cgroup_layout.in_words(version, "cpu", {}) == ""


def test_not_permitted_is_said_in_words(tmp_path: Path) -> None:
    limits = cgroup.Limits((), {"memory": "Permission denied", "cpu": "Permission denied"})
    assert not limits.enforced
    words = limits.create("x", Resources(vcpus=1))
    assert words == "limits not enforced: cpu: Permission denied; memory: Permission denied"
    assert limits.entrances("x") == []


@pytest.fixture
def permitted(agent: AgentProcess) -> None:
    """Skips where this machine lets us set no limits."""
    limits = cgroup.probe("oakctl-test-permitted")
    limits.close()
    if not limits.enforced:
        pytest.skip(f"limits cannot be set here: {limits.reason}")


@pytest.mark.usefixtures("permitted")
async def test_limit_is_read_back_and_a_memory_hog_is_killed(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    hog = (
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n"
        "held = []\nwhile True: held.append(bytearray(os.urandom(1 << 20)))\n"
    )
    sha, content = artifact(hog)
    orchestrator.artifacts[sha] = content
    agent.start()
    requests = Resources(vcpus=0.5, memory_mb=48)
    never = RestartPolicy(when="never")
    await orchestrator.want(desired(spec(sha, requests=requests, restart=never)))
    seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
    assert seen.limits.startswith("cpu 0.5 memory 48 MiB pids 512 (cgroup v")
    assert orchestrator.greetings[0].facts.limits_enforced
    base = cgroup.node_group(str(agent.prefix))
    assert base in Path(f"/proc/{seen.pid}/cgroup").read_text()

    (agent.instance(NAME) / "work" / "go").touch()
    seen = await orchestrator.reaches(NAME, InstanceState.FAILED)
    assert seen.exit_code == 137
    assert seen.reason == "killed by the kernel: out of memory (its limit is 48 MiB)"

    await orchestrator.want()
    await until(lambda: orchestrator.reports[-1].instances == (), "it to be forgotten")
    roots = [Path(m.path) for m in cgroup_layout.mounts(Path("/proc/self/mountinfo").read_text())]

    def left() -> list[Path]:
        return [found for root in roots for found in root.glob(f"**/{base}")]

    await until(lambda: not left(), "the groups to be taken away")


async def test_without_permission_the_facts_say_so(
    agent: AgentProcess, orchestrator: Orchestrator, tmp_path: Path
) -> None:
    made = AgentProcess.create_beside(agent, tmp_path / "other", cgroup_root="/nowhere")
    sha, content = artifact("import time\ntime.sleep(600)\n")
    orchestrator.artifacts[sha] = content
    made.start()
    try:
        await orchestrator.want(desired(spec(sha, requests=Resources(memory_mb=48))))
        seen = await orchestrator.reaches(NAME, InstanceState.RUNNING)
        facts = orchestrator.greetings[0].facts
        assert not facts.limits_enforced
        assert "memory: " in facts.limits_reason
        assert seen.limits == f"limits not enforced: {facts.limits_reason}"
    finally:
        made.destroy()
