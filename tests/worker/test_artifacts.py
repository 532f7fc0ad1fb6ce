"""Artifacts: chunks, verification, unpacking, removal. The unpacker is the real one."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import resource
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oakctl.model.instance import InstanceState
from oakctl.orchestration.worker import artifacts, shim
from oakctl.orchestration.worker.artifacts import KEEP_UNUSED_S, Artifacts
from oakctl.orchestration.worker.fetching import Chunk, NotDelivered
from tests.worker.stage import AgentProcess, Orchestrator, artifact, desired, spec, until

SLEEPER = "import time\ntime.sleep(600)\n"


@dataclass
class Source:
    """Serves `content`; `flaw` may change a piece, or raise."""

    content: dict[str, bytes]
    asked: list[int] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)  # numbers of the answers that are flawed
    refusing: bool = False

    async def chunk(self, sha256: str, offset: int, length: int) -> Chunk:
        self.asked.append(offset)
        if self.refusing or sha256 not in self.content:
            raise NotDelivered("the cluster does not answer")
        content = self.content[sha256]
        piece = content[offset : offset + length]
        if len(self.asked) in self.broken:
            piece = bytes(len(piece))
        return Chunk(piece, len(content))


@pytest.fixture
async def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setattr(artifacts, "FIRST_RETRY_S", 0.01)
    return Source({})


@pytest.fixture
async def store(tmp_path: Path, source: Source) -> AsyncIterator[Artifacts]:
    made = _store(tmp_path, source)
    yield made
    await made.close()


def _store(directory: Path, source: Source) -> Artifacts:
    unpacker = shim.scripts(directory / "scripts")["unpack"]
    return Artifacts(directory / "artifacts", source, unpacker, lambda: None)


def _big() -> tuple[str, bytes]:
    return artifact(SLEEPER, extra={"big": os.urandom(1_400_000)})


async def test_fetched_in_chunks_and_unpacked(store: Artifacts, source: Source) -> None:
    sha, content = _big()
    source.content[sha] = content
    store.fetch(sha)
    store.fetch(sha)
    await until(lambda: sha in store.present, "the artifact")
    assert source.asked == [0, 524288, 1048576]
    assert (store.path(sha) / "main.py").read_text() == SLEEPER
    assert store.status(sha).progress == 1.0
    assert sorted(p.name for p in store.path(sha).parent.iterdir()) == [sha]


async def test_goes_on_where_an_earlier_agent_was_cut_off(tmp_path: Path, source: Source) -> None:
    sha, content = _big()
    source.content[sha] = content
    directory = tmp_path / "artifacts"
    directory.mkdir()
    (directory / f".fetch-{sha}").write_bytes(content[:700_000])
    (directory / ".unpack-left").mkdir()
    store = _store(tmp_path, source)
    store.fetch(sha)
    await until(lambda: sha in store.present, "the artifact")
    assert source.asked[0] == 700_000
    assert sorted(p.name for p in directory.iterdir()) == [sha]
    assert sha in _store(tmp_path, source).present
    await store.close()


async def test_damaged_on_the_way_is_fetched_again(
    store: Artifacts, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    sha, content = _big()
    source.content[sha] = content
    source.broken = {2}
    store.fetch(sha)
    await until(lambda: sha in store.present, "the artifact")
    assert "what arrived is damaged" in caplog.text
    assert source.asked.count(0) == 2


async def test_what_points_outside_is_refused(
    store: Artifacts, source: Source, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../outside"), io.BytesIO())
    sha = hashlib.sha256(buffer.getvalue()).hexdigest()
    source.content[sha] = buffer.getvalue()
    store.fetch(sha)
    await until(lambda: "outside" in store.status(sha).problem, "the refusal")
    assert sha not in store.present
    assert not list(tmp_path.rglob("outside"))


async def test_cluster_without_it_is_asked_again(store: Artifacts, source: Source) -> None:
    sha, content = _big()
    store.fetch(sha)
    await until(lambda: store.status(sha).problem, "the reason")
    assert store.status(sha).problem == "artifact: the cluster does not answer"
    source.content[sha] = content
    await until(lambda: sha in store.present, "the artifact")


async def test_no_path_is_made_of_a_strange_reference(store: Artifacts) -> None:
    store.fetch("../../etc")
    assert "is not the sha256" in store.status("../../etc").problem


async def test_unused_ones_are_removed_after_a_while(store: Artifacts, source: Source) -> None:
    sha, content = artifact("")
    source.content[sha] = content
    store.fetch(sha)
    await until(lambda: sha in store.present, "the artifact")
    store.keep_only(set(), 100.0)
    store.keep_only({sha}, 100.0 + KEEP_UNUSED_S)
    store.keep_only(set(), 101.0 + KEEP_UNUSED_S)
    assert store.path(sha).is_dir()
    store.keep_only(set(), 101.0 + 2 * KEEP_UNUSED_S)
    assert not store.path(sha).exists()
    assert store.present == set()


async def test_what_nobody_wants_any_more_is_not_fetched(store: Artifacts, source: Source) -> None:
    sha, _ = artifact("")
    store.fetch(sha)
    await until(lambda: source.asked, "a question")
    store.keep_only(set(), 0.0)
    await asyncio.sleep(0)
    asked = len(source.asked)
    await asyncio.sleep(0)
    assert len(source.asked) == asked


async def test_limit_on_file_size_becomes_a_reason(
    agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    """A full disk as an ordinary user can have one: no file may grow beyond 300 KB."""
    sha, content = _big()
    orchestrator.artifacts[sha] = content

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    agent.start(preexec_fn=limit)
    await orchestrator.want(desired(spec(sha)))
    name = "app.ns.srv.ns.instance.0"

    def told() -> bool:
        seen = orchestrator.seen(name)
        return seen is not None and "no space left on this node" in seen.reason

    await until(told, "the reason")
    assert orchestrator.state(name) is InstanceState.CREATING
    agent.kill()
    agent.start()
    await orchestrator.reaches(name, InstanceState.RUNNING)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


async def test_full_disk_becomes_a_reason_and_passes(
    small_disk: Path, agent: AgentProcess, orchestrator: Orchestrator
) -> None:
    made = AgentProcess.create_beside(agent, small_disk / "host")
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_000_000))
    sha, content = _big()
    orchestrator.artifacts[sha] = content
    made.start()
    await orchestrator.want(desired(spec(sha)))
    name = "app.ns.srv.ns.instance.0"

    def told() -> bool:
        seen = orchestrator.seen(name)
        return seen is not None and "no space left on this node" in seen.reason

    try:
        await until(told, "the reason")
        small = artifact(SLEEPER)
        filler.unlink()
        orchestrator.artifacts[small[0]] = small[1]
        await orchestrator.want(desired(spec(small[0]), epoch=2))
        await orchestrator.reaches(name, InstanceState.RUNNING, epoch=2)
    finally:
        made.destroy()
