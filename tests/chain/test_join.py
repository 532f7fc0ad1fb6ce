"""A machine whose owner gives no SSH becomes a worker by a token, runs an instance, and leaves.

The join program runs on a host of the loopback lab, as its owner would run it there.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from oakctl.client.process import hosted_root
from oakctl.client.root import RootClient
from oakctl.model.requests import ApplyRequest, ClusterCreate
from tests.chain.fleet import HOSTS, WAIT_S, lab, processes_with, until
from tests.root.descriptor import application, service
from tests.worker.stage import artifact

CHECKOUT = Path(__file__).parents[2]
PROGRAM = "import signal; print('here', flush=True); signal.pause()"
NAME = "ar.demo.Web.demo.instance.0"


def oakctl(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "oakctl", *arguments],
        capture_output=True, text=True, cwd=CHECKOUT, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def on(host: str, program: Path, *words: str, code: int = 0) -> str:
    """Run a join program on a host of the lab, by the shell that its owner has there."""
    typed = shlex.join(["python3", str(program), *words])
    return oakctl("host", "run", host, "--", "sh", "-c", typed, code=code)


async def runs_on(root: RootClient, worker: str) -> bool:
    view = await root.instance(NAME)
    return view.ready and view.worker == worker


async def status(root: RootClient, worker: str) -> str:
    views = [view for view in await root.workers() if view.name == worker]
    return views[0].status if views else ""


def do(*arguments: str, code: int = 0) -> asyncio.Future[str]:
    return asyncio.ensure_future(asyncio.to_thread(oakctl, *arguments, code=code))


@pytest.mark.slow
async def test_a_machine_joins_by_a_token_and_leaves(own_directories: Path) -> None:
    file = own_directories / "join.pyz"
    async with lab() as the_lab, hosted_root(), RootClient() as root:
        for host in the_lab.hosts:
            await root.put_host(host)
        created = await root.create_cluster(ClusterCreate("edge", "edge"))
        await root.wait_operation(created.id, WAIT_S)
        homes = {host.name: the_lab.directory / "homes" / host.name for host in HOSTS}

        await do("worker", "token", "w7", "--cluster", "edge", "--label", "of=ann", "-o", str(file))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert await status(root, "w7") == "joining"
        joined = await asyncio.to_thread(on, "edge-w1", file)
        assert "this machine is worker w7 of cluster edge" in joined
        await until("the root to know it", lambda: status(root, "w7"), "ready".__eq__)
        listed = json.loads(await do("worker", "ls", "-o", "json"))
        assert [(one["name"], one["host"]) for one in listed] == [("w7", "")]
        assert "joined by token" in await do("worker", "ls")
        assert "nothing to do" in await asyncio.to_thread(on, "edge-w1", file)

        # A copy is refused with the reason, and leaves nothing where it was tried.
        copy = own_directories / "copy.pyz"
        shutil.copy(file, copy)
        refused = await asyncio.to_thread(on, "edge-w2", copy, code=1)
        assert "was used already" in refused
        assert not (homes["edge-w2"] / ".oakctl").exists()

        # Cut off after its enrolment, it carries on with what it has.
        agent = homes["edge-w1"] / ".oakctl/etc/agent.unit.json"
        (homes["edge-w1"] / ".oakctl/etc/worker.json").unlink()
        agent.unlink()
        assert "agent: done" in await asyncio.to_thread(on, "edge-w1", file)
        await until("it to be ready again", lambda: status(root, "w7"), "ready".__eq__)

        _, body = artifact(PROGRAM)
        (own_directories / "program.tar.gz").write_bytes(body)
        sha = await root.upload_artifact(own_directories / "program.tar.gz")
        await root.apply(ApplyRequest(application(service("Web", code=f"sha256:{sha}", cmd=[]))))
        await until("the instance to run there", lambda: runs_on(root, "w7"))
        assert processes_with(OAKCTL_INSTANCE=NAME)

        told = await do("worker", "remove", "edge/w7", "--yes")
        assert "--remove" in told
        assert await status(root, "w7") == ""
        assert processes_with(OAKCTL_INSTANCE=NAME) == {}
        over = await asyncio.to_thread(on, "edge-w1", file, code=1)
        assert "the worker was removed" in over
        gone = await asyncio.to_thread(on, "edge-w1", file, "--remove")
        assert "nothing of it is left" in gone
        assert not (homes["edge-w1"] / ".oakctl").exists()
        assert "nothing to do" in await asyncio.to_thread(on, "edge-w1", file, "--remove")

        # One that was taken back before its use.
        await do("worker", "token", "--cluster", "edge", "-o", str(file))
        unused = await do("worker", "remove", "edge/w1", "--yes")
        assert "nobody has used its token" in unused
        refused = await asyncio.to_thread(on, "edge-w2", file, code=1)
        assert "revoked" in refused
        states = json.loads(await do("worker", "tokens", "--cluster", "edge", "-o", "json"))
        assert {one["worker"]: one["state"] for one in states} == {"w7": "revoked", "w1": "revoked"}
