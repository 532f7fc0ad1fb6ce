"""Facts, usage, /proc, launch orders, metrics: the small parts that need no agent."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import UsageError
from oakctl.model.config import BusAccess, WorkerConfig
from oakctl.model.instance import DesiredInstance
from oakctl.model.resources import Location, Resources
from oakctl.orchestration.worker import (
    facts,
    http,
    launch,
    metrics,
    overlay,
    process,
    procfs,
    storage,
    usage,
)
from oakctl.orchestration.worker.launch import CannotStart, Manifest
from tests.worker.stage import spec

CONFIG = WorkerConfig("w1", "edge", "/", BusAccess("tls://x:1", "edge", "ca", "w1", "secret"))


def test_facts_of_this_machine(tmp_path: Path) -> None:
    config = WorkerConfig(
        **{
            **vars(CONFIG),
            "prefix": str(tmp_path),
            "contribution": Resources(vcpus=2.0, memory_mb=512, vgpus=1),
            "declared": ("vgpus",),
            "location": Location(48.1, 11.6),
            "labels": {"room": "kitchen"},
        }
    )
    found = facts.gather(config, limits_enforced=False, limits_reason="not permitted")
    assert (found.capacity.vcpus, found.capacity.memory_mb, found.capacity.vgpus) == (2.0, 512, 1)
    assert found.capacity.storage_mb > 0
    assert found.declared == ("vgpus",)
    assert found.location == Location(48.1, 11.6)
    assert found.python.startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert found.limits_reason == "not permitted"


@pytest.mark.parametrize(
    ("machine", "bits", "expected"),
    [
        ("x86_64", 64, "x86_64"),
        ("aarch64", 64, "aarch64"),
        ("arm64", 64, "aarch64"),
        ("aarch64", 32, "armv7l"),
        ("armv7l", 32, "armv7l"),
    ],
)
def test_architecture_is_that_of_the_userland(machine: str, bits: int, expected: str) -> None:
    assert facts.userland(machine, bits) == expected


def test_distribution() -> None:
    text = 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
    assert facts.distribution(text) == "Debian GNU/Linux 12 (bookworm)"
    assert facts.distribution("") != ""


def test_usage_is_a_difference(tmp_path: Path) -> None:
    meter = usage.UsageMeter(str(tmp_path))
    first = meter.look(None)
    assert (first.cpu_percent, first.agent_cpu_percent) == (0.0, 0.0)
    second = meter.look(os.getpid())
    assert second.agent_rss_mb == second.relay_rss_mb > 1
    assert 0 < second.memory_percent < 100
    assert second.disk_free_mb > 0
    assert usage.cpu_ticks("cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1") == (30, 100)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=15))
def test_stat_with_any_name(name: str) -> None:
    fields = "S 1 7 8 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 999 0 256"
    stat = procfs.parse_stat(f"42 ({name}) {fields} 0 0")
    assert (stat.pid, stat.state, stat.group, stat.session) == (42, "S", 7, 8)
    assert (stat.cpu_s, stat.start) == (200 / procfs.TICKS_PER_S, 999)


def test_process_is_named_by_more_than_its_pid() -> None:
    stat = procfs.stat_of(os.getpid())
    assert stat is not None
    assert procfs.lives(os.getpid(), stat.start)
    assert not procfs.lives(os.getpid(), stat.start + 1)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, env={"MARK": "x y"})
    try:
        found = procfs.stat_of(child.pid)
        assert found is not None
        everyone = procfs.all_stats()
        assert procfs.session_members(child.pid, found.start, everyone) == [child.pid]
        assert procfs.session_members(child.pid, found.start - 1, everyone) == []
    finally:
        child.kill()
        assert not procfs.lives(child.pid, 0)
        child.wait()
    assert procfs.stat_of(child.pid) is None
    assert not procfs.has_variable(child.pid, "MARK", "x y")


def test_launch_order(tmp_path: Path) -> None:
    desired = DesiredInstance(
        spec(
            "x",
            cmd=("--fast",),
            args=("{artifact}/data",),
            environment=("A=b=c", "broken", "OAKCTL_LAB=x"),
        ),
        0,
        1,
        "10.18.0.2",
        {"OAKCTL_ADDR_REC": "10.30.0.1"},
    )
    manifest = Manifest(("{python}", "{artifact}/main.py"))
    assert launch.argv(manifest, desired, tmp_path) == [
        sys.executable,
        f"{tmp_path}/main.py",
        "--fast",
        f"{tmp_path}/data",
    ]
    variables = launch.environment(
        desired, tmp_path, "127.3.0.2", lambda ip: f"local {ip}", {"SECRET": "s", "OAKCTL_LAB": "l"}
    )
    assert variables["A"] == "b=c"
    assert variables["OAKCTL_ADDR_REC"] == "local 10.30.0.1"
    assert variables["OAKCTL_LAB"] == "l"  # whatever the descriptor says
    assert "SECRET" not in variables
    assert "broken" not in variables


def test_manifest_faults(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"has no oakctl-artifact\.json"):
        launch.read_manifest(tmp_path)
    file = tmp_path / launch.MANIFEST
    for text in ("{", "{}", '{"command": []}'):
        file.write_text(text)
        with pytest.raises(CannotStart, match=r"oakctl-artifact\.json"):
            launch.read_manifest(tmp_path)
    file.write_text('{"command": ["x"], "python": "", "architectures": [], "more": 1}')
    assert launch.read_manifest(tmp_path) == Manifest(("x",))
    with pytest.raises(CannotStart, match="for aarch64, this node is x86_64"):
        launch.check_fits(Manifest(("x",), architectures=("aarch64",)), "x86_64", (3, 11))
    with pytest.raises(CannotStart, match=r"for Python 3\.12, this node has 3\.11"):
        launch.check_fits(Manifest(("x",), python="3.12"), "x86_64", (3, 11))


def test_metrics_text() -> None:
    text = '# HELP a b\na 1\nb{x="y"} 2\nc nan\nd 3.5 1700000000\ne text\nf\n'
    assert metrics.parse(text) == {"a": 1.0, "d": 3.5}
    assert len(metrics.parse("\n".join(f"m{n} {n}" for n in range(999)))) == metrics.MOST_METRICS


@given(st.text(max_size=200))
def test_metrics_of_anything(text: str) -> None:
    metrics.parse(text)


async def _served(answer: bytes) -> tuple[int, bytes]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await http.get("127.0.0.1", port, "/metrics", 10)


async def test_http_answers() -> None:
    assert await _served(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nbody") == (200, b"body")
    with pytest.raises(http.BadAnswer):
        await _served(b"SSH-2.0-nothing\r\n")
    with pytest.raises(http.BadAnswer):
        await _served(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(http.LONGEST_BODY + 1))


def test_a_line_is_told_once_in_a_while() -> None:
    repeats = process.Repeats()

    def told(text: str, at: float) -> bool:
        entry = logging.LogRecord("x", logging.INFO, "", 0, text, None, None)
        entry.created = at
        return repeats.filter(entry)

    lines = [("away", 100.0), ("away", 101.0), ("back", 102.0), ("away", 129.0), ("away", 131.0)]
    assert [told(*line) for line in lines] == [True, False, True, False, True]


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    storage.replace_file(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        storage.replace_file(tmp_path / "directory", b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "directory"]
    assert storage.in_words(OSError(28, "No space left", "/x")) == "no space left on this node (/x)"


def test_unknown_overlays_are_refused() -> None:
    with pytest.raises(UsageError, match="loopback number"):
        overlay.driver_for(CONFIG)
    with pytest.raises(UsageError, match="'magic' is not known"):
        overlay.driver_for(WorkerConfig(**{**vars(CONFIG), "overlay_driver": "magic"}))
