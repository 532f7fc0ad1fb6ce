"""A small real fleet for tests of the whole chain: loopback lab, root, one cluster, workers.

Belongs here: bringing it up and down, and looking at the processes it made. Does not belong
here: what a test wants to know.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from oakctl.client.process import hosted_root, running_root
from oakctl.client.root import RootClient
from oakctl.lab import loopback
from oakctl.lab.loopback import Lab, LabHost
from oakctl.model.requests import ClusterCreate, WorkerAdd
from tests.waiting import STEP_S, WAIT_S, until

__all__ = ["HOSTS", "WAIT_S", "commands", "fleet", "lab", "processes_with", "until"]


HOSTS = (
    LabHost("edge", vcpus=2, memory_mb=1024, vgpus=0, location=None),
    LabHost("edge-w1", vcpus=2, memory_mb=1024, vgpus=0, location=None),
    LabHost("edge-w2", vcpus=2, memory_mb=1024, vgpus=0, location=None),
)


@asynccontextmanager
async def lab(hosts: tuple[LabHost, ...] = HOSTS) -> AsyncIterator[Lab]:
    """A loopback lab that is gone afterwards, whatever happened to it."""
    try:
        yield await loopback.up("chain", hosts, lambda line: None)
    finally:
        await loopback.down("chain")


@asynccontextmanager
async def no_root_left() -> AsyncIterator[None]:
    """A root that was started in between, to stay, is ended however the test ends."""
    try:
        yield
    finally:
        deadline = time.monotonic() + WAIT_S
        while (status := await running_root()) is not None:
            late = time.monotonic() > deadline
            os.kill(status.pid, signal.SIGKILL if late else signal.SIGTERM)
            assert time.monotonic() < 2 * WAIT_S + deadline, f"root {status.pid} does not end"
            await asyncio.sleep(STEP_S)


@asynccontextmanager
async def fleet() -> AsyncIterator[tuple[Lab, RootClient]]:
    """Cluster `edge` with two workers, and a root that this process hosts.

    Whichever root there is in the end, one that a test has started too, ends with it.
    """
    async with lab() as the_lab, no_root_left(), hosted_root(), RootClient() as root:
        for host in the_lab.hosts:
            await root.put_host(host)
        created = await root.create_cluster(ClusterCreate("edge", "edge"))
        await root.wait_operation(created.id, WAIT_S)
        added = [
            await root.add_worker(WorkerAdd(name, "edge", f"edge-{name}")) for name in ("w1", "w2")
        ]
        for operation in added:
            await root.wait_operation(operation.id, WAIT_S)
        yield the_lab, root


def processes_with(**variables: str) -> dict[int, dict[str, str]]:
    """Process id → environment of every process that carries all of `variables`."""
    found: dict[int, dict[str, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        environment = _environment(entry)
        if variables.items() <= environment.items():
            found[int(entry.name)] = environment
    return found


def _environment(entry: Path) -> dict[str, str]:
    try:
        raw = (entry / "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is another user's
        return {}
    pairs = (part.partition(b"=") for part in raw.split(b"\0") if b"=" in part)
    return {
        name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs
    }


def commands(pids: Iterable[int]) -> dict[int, list[str]]:
    """Process id → its arguments; those that ended meanwhile are left out."""
    arguments: dict[int, list[str]] = {}
    for pid in pids:
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        arguments[pid] = [part.decode(errors="replace") for part in raw.split(b"\0") if part]
    return arguments
