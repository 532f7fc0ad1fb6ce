"""A fleet on real hosts of a lab: bare to ready, killed in the middle, changed, taken away."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oakctl.client.root import RootClient
from oakctl.errors import Unreachable
from oakctl.lab.loopback import Lab
from tests.chain import fleet

# Some twenty calls and a dozen bootstraps each: half a minute on an idle machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CHECKOUT = Path(__file__).parents[2]
WAIT_S = 600.0
CLUSTERS = """
clusters:
- name: edge
  orchestrator: edge
  workers:
  - {name: w1, host: edge-w1, contribution: {vcpus: 1}, labels: {room: hall}}
  - {name: w2, host: edge-w2}
"""


@pytest.fixture
async def lab(own_directories: Path) -> AsyncIterator[Lab]:
    """Three bare hosts; the root that commands start is ended afterwards."""
    try:
        async with fleet.lab() as made:
            yield made
    finally:
        await kill_root()


async def kill_root() -> None:
    """SIGKILL, and wait until its lock is free."""
    try:
        async with RootClient() as root:
            pid = (await root.status()).pid
    except Unreachable:
        return
    os.kill(pid, signal.SIGKILL)

    async def gone() -> bool:
        return not Path(f"/proc/{pid}").exists() or _is_zombie(pid)

    await fleet.until("the root to be gone", gone)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def start(*arguments: str, home: Path = CHECKOUT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "oakctl", *arguments],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def call(*arguments: str, code: int = 0, home: Path = CHECKOUT) -> tuple[str, str]:
    """(stdout, stderr) of one call, of the program in `home`, that ends with `code`."""
    with start(*arguments, home=home) as process:
        out, err = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
    assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
    return out, err


def fleet_file(lab: Lab, folder: Path, more: str = CLUSTERS) -> str:
    hosts = [
        {"name": h.name, "address": h.address, "port": h.port, "user": h.user,
         "identity_file": h.identity_file}
        for h in lab.hosts
    ]  # fmt: skip
    path = folder / "fleet.yaml"
    path.write_text(f"hosts: {json.dumps(hosts)}\n{more}")
    return str(path)


def homes(lab: Lab) -> dict[str, str]:
    """Path → kind, mode and content of everything in the home of every host."""
    found = {}
    top = lab.directory / "homes"
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(top))] = f"{status.st_mode:o} {content}"
    return found


async def plan(path: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = json.loads(
        (await call("fleet", "plan", "-f", path, "-o", "json"))[0]
    )
    return found


async def steps_done() -> int:
    """How many steps all operations have told so far."""
    try:
        async with RootClient() as root:
            views = [await root.operation(view.id) for view in await root.operations()]
    except Unreachable:
        return 0
    return sum(len(view.steps) for view in views)


async def test_bare_to_ready_changed_and_back(lab: Lab, tmp_path: Path) -> None:
    before = homes(lab)
    path = fleet_file(lab, tmp_path)
    bare = await plan(path)
    assert {change["action"] for change in bare["changes"]} == {"register", "create"}
    assert homes(lab) == before  # looking changes nothing, not even a lock

    _, told = await call("fleet", "apply", "-f", path, "--yes")
    assert "6 changes made" in told
    async with RootClient() as root:
        assert {(v.name, v.status) for v in await root.workers()} == {
            ("w1", "ready"),
            ("w2", "ready"),
        }
        operations = len(await root.operations())
        _, told = await call("fleet", "apply", "-f", path, "--yes")
        assert "no changes" in told
        assert len(await root.operations()) == operations

        changed = CLUSTERS.replace("hall", "cellar").replace("vcpus: 1", "vcpus: 2")
        fleet_file(lab, tmp_path, changed)
        (change,) = (await plan(path))["changes"]
        assert change["differences"] == ["vcpus: 1 → 2", "label room: hall → cellar"]
        await call("fleet", "apply", "-f", path, "--yes")
        assert (await plan(path))["changes"] == []

        async def known_to_the_cluster() -> bool:
            summary = (await root.worker("edge", "w1")).summary
            facts = summary.facts if summary else None
            return facts is not None and (
                (facts.capacity.vcpus, facts.labels) == (2, {"room": "cellar"})
            )

        await fleet.until("the cluster to know the change", known_to_the_cluster)

        less = "\n".join(line for line in changed.splitlines() if "w2" not in line)
        fleet_file(lab, tmp_path, less)
        found = await plan(path)
        assert [extra["name"] for extra in found["extras"]] == ["edge/w2"]
        assert found["changes"] == []
        await call("fleet", "apply", "-f", path, "--prune", code=2)  # nobody to ask
        await call("fleet", "apply", "-f", path, "--prune", "--yes")
        assert [worker.name for worker in await root.workers()] == ["w1"]

    await call("fleet", "destroy", "-f", path, "--yes")
    assert homes(lab) == before
    assert (await call("host", "ls", "-o", "json"))[0].strip() == "[]"


# The client alone is killed on real hosts, too: tests/lab/test_interruptions.
@pytest.mark.parametrize(
    "what",
    [pytest.param("the client", marks=pytest.mark.soak), "the root and the client"],
)
async def test_killed_in_the_middle_a_second_run_converges(
    lab: Lab, tmp_path: Path, what: str
) -> None:
    seed = int(os.environ.get("OAKCTL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    sys.stderr.write(f"\nseed: OAKCTL_SEED={seed}\n")
    before = homes(lab)
    path = fleet_file(lab, tmp_path)
    kill_after = random.Random(seed).randint(1, 60)
    process = start("fleet", "apply", "-f", path, "--yes")

    async def far_enough() -> bool:
        return process.poll() is not None or await steps_done() >= kill_after

    with process:
        await fleet.until(f"{kill_after} lines of progress", far_enough)
        process.kill()
        if "root" in what:
            await kill_root()
        process.communicate()
    _, told = await call("fleet", "apply", "-f", path, "--yes")
    assert "failed" not in told.replace("that failed", ""), told
    found = await plan(path)
    assert (found["changes"], found["faults"]) == ([], [])
    async with RootClient() as root:
        assert [worker.status for worker in await root.workers()] == ["ready", "ready"]
    await call("fleet", "destroy", "-f", path, "--yes")
    assert homes(lab) == before


async def test_dead_hosts_are_reported_and_can_be_forgotten(lab: Lab, tmp_path: Path) -> None:
    path = fleet_file(lab, tmp_path)
    await lab.power_cut("edge-w2")
    _, told = await call("fleet", "apply", "-f", path, "--yes", code=4)
    assert "worker edge/w1 is ready" in told
    assert "edge-w2" in told
    await lab.start_host("edge-w2")
    await call("fleet", "apply", "-f", path, "--yes")
    await lab.power_cut("edge-w2")
    _, told = await call("fleet", "destroy", "-f", path, "--yes", code=4)
    assert "worker edge/w1 is removed" in told
    await call("fleet", "destroy", "-f", path, "--yes", "--force")
    assert (await call("host", "ls", "-o", "json"))[0].strip() == "[]"
    async with RootClient() as root:
        assert (await root.clusters(), await root.workers()) == ((), ())


def another(folder: Path, file: str, text: str) -> Path:
    """The program as a newer one would be: with `text` at the end of one of its files."""
    for name in ("oakctl", "playbooks"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, folder / name, ignore=skipped)
    with (folder / "oakctl" / file).open("a") as opened:
        opened.write(text)
    return folder


async def releases(name: str) -> str:
    async with RootClient() as root:
        if name == "edge":
            return (await root.cluster("edge")).release
        summary = (await root.worker("edge", name)).summary
    return summary.facts.release if summary and summary.facts else ""


async def test_a_newer_release_rolls_and_one_that_breaks_goes_back(
    lab: Lab, tmp_path: Path
) -> None:
    before = homes(lab)
    path = fleet_file(lab, tmp_path)
    await call("fleet", "apply", "-f", path, "--yes")
    _, told = await call("worker", "add", "w2", "--cluster", "edge", "--on", "edge-w2")
    assert "nothing to do: worker edge/w2 is ready" in told
    old = await releases("w1")
    assert old

    newer = another(tmp_path / "newer", "node/__main__.py", "# newer\n")
    await kill_root()
    _, told = await call("fleet", "upgrade", home=newer, code=2)  # nobody to ask
    assert "upgrade worker edge/w1" in told
    out, _ = await call("fleet", "upgrade", "--yes", "-o", "json", home=newer)
    names = [change["name"] for change in json.loads(out)["done"]]
    assert names == ["edge", "edge/w1", "edge/w2"]
    new = await releases("edge")
    assert new not in ("", old)
    assert (await releases("w1"), await releases("w2")) == (new, new)
    _, told = await call("fleet", "upgrade", home=newer)
    assert "no changes" in told

    file, text = "orchestration/worker/process.py", "\nraise SystemExit('it breaks')\n"
    broken = another(tmp_path / "broken", file, text)
    await kill_root()
    out, told = await call("fleet", "upgrade", "--yes", "-o", "json", home=broken, code=1)
    ended = json.loads(out)
    assert [change["name"] for change in ended["done"]] == ["edge"]
    first, second = ended["failed"]
    assert first["change"]["name"] == "edge/w1"
    assert "the release before runs again" in first["error"]
    assert "it breaks" in first["details"]
    assert "not begun: the upgrade of worker edge/w1 failed" in second["error"]

    async def as_before() -> bool:
        return (await releases("w1"), await releases("w2")) == (new, new)

    await fleet.until("both workers to run the release before", as_before)
    async with RootClient() as root:
        assert {worker.status for worker in await root.workers()} == {"ready"}
    await kill_root()
    await call("fleet", "destroy", "-f", path, "--yes", home=newer)
    assert homes(lab) == before
