"""A named secret through the whole chain, and a search for it everywhere that it must not be."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oakctl import paths
from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.lab.loopback import Lab
from oakctl.model.requests import ApplyRequest, ClusterCreate, WorkerAdd
from oakctl.orchestration.worker import memory
from tests.chain.fleet import WAIT_S, lab, processes_with, until
from tests.lab.leaks import Search, Secret, Watch
from tests.root.descriptor import application, service
from tests.worker.stage import artifact

CHECKOUT = Path(__file__).parents[2]
FILE, VARIABLE = "planted-in-the-chain-file-5d20", "planted-in-the-chain-variable-e8b3"
NEWER = "planted-in-the-chain-newer-0a9f"
JOB = "ar.demo.Web.demo"
NAME = f"{JOB}.instance.0"
PROGRAM = """
import hashlib, os, pathlib, signal
for name in ("db-password",):
    content = pathlib.Path(os.environ["OAKCTL_SECRETS"], name).read_bytes()
    print(name, hashlib.sha256(content).hexdigest(), flush=True)
print("API_KEY", hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest(), flush=True)
signal.pause()
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def oakctl(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "oakctl", *arguments],
        input=stdin, capture_output=True, text=True, cwd=CHECKOUT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def prefix_of(the_lab: Lab, host: str) -> Path:
    return the_lab.directory / "homes" / host / ".oakctl"


def in_memory_of(the_lab: Lab, host: str) -> list[Path]:
    """Files with secrets of instances on a host of the lab."""
    base = memory.place(str(prefix_of(the_lab, host)))
    return sorted(path for path in base.rglob("*") if path.is_file())


def secrets_of(the_lab: Lab, *values: str) -> list[Secret]:
    """Each may be with the root, and on the orchestrator's host, in the file for that."""
    homes = frozenset(
        {
            *paths.secrets_directory().glob("*.json"),
            prefix_of(the_lab, "edge") / "state/secrets.json",
        }
    )
    return [Secret(value, value, homes) for value in values]


def every_process() -> Any:
    """All processes of the machine, as `Watch` looks at them."""
    return SimpleNamespace(processes=others)


def look_everywhere(search: Search, own: Path) -> None:
    """All files of this test's user and lab, the database as text, and every process."""
    for file in own.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if file.is_file() and not file.is_symlink():
                search.look(str(file), file.read_bytes(), file)
    with sqlite3.connect(f"file:{paths.database()}?mode=ro", uri=True) as connection:
        search.look("the database", "\n".join(connection.iterdump()).encode())
    connection.close()
    search.processes("machine", (Path("/proc") / str(pid) for pid in others()))


def pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def instance_pids() -> list[int]:
    return list(processes_with(OAKCTL_INSTANCE=NAME))


def others() -> Iterator[int]:
    own = instance_pids()
    return (pid for pid in pids() if pid not in own)


async def populate(root: RootClient, the_lab: Lab) -> None:
    for host in the_lab.hosts:
        await root.put_host(host)
    created = await root.create_cluster(ClusterCreate("edge", "edge"))
    await root.wait_operation(created.id, WAIT_S)
    for name in ("w1", "w2"):
        added = await root.add_worker(WorkerAdd(name, "edge", f"edge-{name}"))
        await root.wait_operation(added.id, WAIT_S)


async def apply(root: RootClient, own: Path) -> None:
    _, body = artifact(PROGRAM)
    (own / "program.tar.gz").write_bytes(body)
    sha = await root.upload_artifact(own / "program.tar.gz")
    uses = ["db-password", {"name": "api", "as": "env", "target": "API_KEY"}]
    web = service("Web", code=f"sha256:{sha}", oakctl={"secrets": uses}, cmd=[])
    await root.apply(ApplyRequest(application(web)))


async def said(root: RootClient, *words: str) -> None:
    async def found() -> bool:
        text = "".join([one async for one in root.logs(NAME)])
        return all(word in text for word in words)

    await until(f"the instance to say {words}", found)


async def worker_of(root: RootClient) -> str:
    await until("it to run", lambda: _ready(root))
    return (await root.instance(NAME)).worker


async def _runs_on(root: RootClient, worker: str) -> bool:
    view = await root.instance(NAME)
    return view.ready and view.worker == worker


async def _ready(root: RootClient) -> bool:
    return (await root.instance(NAME)).ready


@pytest.mark.slow
async def test_a_secret_is_where_it_is_needed_and_nowhere_else(own_directories: Path) -> None:
    own = own_directories
    search = Search([Secret(value, value) for value in (FILE, VARIABLE, NEWER)])
    async with lab() as the_lab:
        async with hosted_root(), RootClient() as root:
            await populate(root, the_lab)
            with Watch(search, every_process(), ()) as watch:
                for name, value in (("db-password", FILE), ("api", VARIABLE)):
                    told = await asyncio.to_thread(oakctl, "secret", "set", name, stdin=value)
                    search.look("what set said", told.encode())
            assert watch.rounds > 0
            await apply(root, own)
            holder = await worker_of(root)
            await said(root, digest(FILE), digest(VARIABLE))
            other = ({"w1", "w2"} - {holder}).pop()
            files = [path.name for path in in_memory_of(the_lab, f"edge-{holder}")]
            assert files == ["db-password", f"{NAME}.json"]
            assert in_memory_of(the_lab, f"edge-{other}") == []

            listed = json.loads(await asyncio.to_thread(oakctl, "secret", "ls", "-o", "json"))
            assert [one["services"] for one in listed] == [[JOB], [JOB]]
            shown = await asyncio.to_thread(oakctl, "service", "show", "Web", "-o", "json")
            search.look("service show", shown.encode())
            everything = Search(secrets_of(the_lab, FILE, VARIABLE))
            look_everywhere(everything, own)
            # The instance asked for one as a variable, and has no other in its environment.
            instance = [Path("/proc") / str(pid) for pid in instance_pids()]
            everything.processes("instance", instance)
            assert {found.partition(" of ")[0] for found in everything.found} == {
                f"{VARIABLE} in instance: environ"
            }

        # With the root away the cluster places it anew, and has what it needs for that.
        assert (await _run_elsewhere(the_lab, holder, other)) == ["db-password", f"{NAME}.json"]

        async with hosted_root(), RootClient() as root:
            # Until its cluster has spoken, a root shows what it knew before.
            await until("the root to hear of it", lambda: _runs_on(root, other))
            await asyncio.to_thread(oakctl, "secret", "set", "db-password", stdin=NEWER)
            await asyncio.to_thread(oakctl, "service", "restart", "Web", "--at-once", "--wait")
            await said(root, digest(NEWER))
            await root.delete_application("ar.demo")
            await until("nothing of it to be left", lambda: _nothing(the_lab, other))
        assert search.found == set()
        bases = [memory.place(str(prefix_of(the_lab, f"edge-{w}"))) for w in (holder, other)]
        assert bases[0].exists()  # of the host whose power was cut
    assert not any(base.exists() for base in bases)


async def _run_elsewhere(the_lab: Lab, holder: str, other: str) -> list[str]:
    await the_lab.power_cut(f"edge-{holder}")

    async def there() -> bool:
        return bool(instance_pids()) and bool(in_memory_of(the_lab, f"edge-{other}"))

    await until("the other worker to have it", there)
    return [path.name for path in in_memory_of(the_lab, f"edge-{other}")]


async def _nothing(the_lab: Lab, worker: str) -> bool:
    return not in_memory_of(the_lab, f"edge-{worker}") and not instance_pids()
