"""Labs on the loopback interface: up, down, and power for their hosts.

Belongs here: what `oakctl lab` does. It works with no keeper, a dead keeper, and whatever an
interrupted call left. Does not belong here: what runs meanwhile (`keeper`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oakctl
from oakctl import paths
from oakctl.errors import Conflict, DeadlineExceeded, NotFound, OakError
from oakctl.lab import addresses, control, description, keys, locking, processes
from oakctl.lab.description import HostRecord, LabFiles, LabHost, LabRecord
from oakctl.lab.machines.lab_file import LabPlan
from oakctl.lab.slow import Slow
from oakctl.model.resources import Location
from oakctl.model.views import HostView
from oakctl.orchestration.worker import memory
from oakctl.remote.residence import HOME_PREFIX

__all__ = ["DEMO_HOSTS", "Lab", "LabHost", "down", "load", "ls", "up"]

Progress = Callable[[str], None]

KEEPER_START_S = 30.0
PING_S = 5.0
POWER_S = 20.0
GRACE_S = 5.0
GONE_S = 20.0
STEP_S = 0.05

KEEPER = "oakctl.lab.keeper"
# The keeper of light hosts is root of a user namespace, whoever it is, and process 1 of one: what
# is in there ends with it. The network it stays in is the operator's, who reaches hosts through it.
APART = (
    *("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
_launched: list[subprocess.Popen[bytes]] = []

_MUNICH = Location(48.1374, 11.5755)

# The demonstration's machines: cluster `edge` with its orchestrator and four workers, two of
# them with a declared GPU, and cluster `cloud` with its orchestrator and one worker.
DEMO_HOSTS: tuple[LabHost, ...] = (
    LabHost("edge", 2, 1024, 0, _MUNICH),
    LabHost("edge-w1", 2, 1024, 0, Location(48.1500, 11.5600)),
    LabHost("edge-w2", 2, 1024, 0, Location(48.2620, 11.6680)),
    LabHost("edge-w3", 2, 1024, 1, Location(48.0660, 11.6030)),
    LabHost("edge-w4", 2, 1024, 1, Location(48.3540, 11.7860)),
    LabHost("cloud", 4, 4096, 0, Location(50.1109, 8.6821)),
    LabHost("cloud-w1", 4, 4096, 0, Location(50.1200, 8.7350)),
)


@dataclass(frozen=True)
class Lab:
    """A lab that is there. `keeper` is its keeper's process id; 0: none runs."""

    name: str
    id: str
    directory: Path
    hosts: tuple[HostView, ...]
    on: tuple[str, ...]
    keeper: int
    cut: tuple[str, ...] = ()  # hosts whose cables are pulled: only light ones have any
    light: bool = False  # its hosts are light ones, with namespaces of their own

    @property
    def ssh_log(self) -> Path:
        """One line per login and command on any of its hosts."""
        return self.directory / "ssh.log"

    def host(self, name: str) -> HostView:
        """The host called `name`; raises NotFound."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise NotFound(f"lab {self.name} has no host {name}", hint="oakctl lab ls")

    async def stop_host(self, name: str) -> None:
        """Shut a host down: everything on it gets SIGTERM, then SIGKILL."""
        await self._power(name, "host-stop")

    async def start_host(self, name: str) -> None:
        """Turn a host on; its units start again."""
        await self._power(name, "host-start")

    async def power_cut(self, name: str) -> None:
        """SIGKILL everything on a host, its instances too, and leave it off."""
        await self._power(name, "power-cut")

    async def cut_host(self, name: str) -> None:
        """Pull the cable of a light host; the way by which it is reached from here ends too."""
        await self._power(name, "cut")

    async def heal_host(self, name: str) -> None:
        """Plug the cable of a light host in again; it is as fast as at first."""
        await self._power(name, "heal")

    async def slow_host(self, name: str, slow: Slow) -> None:
        """Delay and lose packets to and from a light host."""
        await self._power(name, "slow", delay_ms=slow.delay_ms, loss=slow.loss)

    async def _power(self, name: str, operation: str, **more: Any) -> None:
        self.host(name)
        request = {"op": operation, "host": name, **more}
        await control.ask(LabFiles(self.name).socket, request, timeout_s=POWER_S)


async def up(
    name: str,
    hosts: Sequence[LabHost],
    progress: Progress = lambda _: None,
    *,
    network: LabPlan | None = None,
) -> Lab:
    """Make the lab, or bring what is there of it back: idempotent.

    With a `network` its hosts are light ones. Raises Conflict when there is a lab of that name with
    other hosts, or addresses are taken.
    """
    files = LabFiles(name)
    async with locking.lock():
        record = description.read(files)
        if record is None and files.directory.exists() and any(files.directory.glob("*.json")):
            raise Conflict(
                f"lab {name} is there, of another kind",
                hint=f"oakctl lab down {name}, or another --name",
            )
        if record is not None and not _is_of(record, hosts, network):
            raise Conflict(
                f"lab {name} is there with other hosts",
                hint=f"oakctl lab down {name}, or another --name",
            )
        if record is not None and await _answers(files):
            keys.trust_hosts(files, record)
        else:
            new = record or LabRecord(name, _identity(name), (), network)
            await _bring_up(files, new, hosts, progress)
        lab = load(name)
        for host in lab.hosts:
            if host.name not in lab.on:
                progress(f"host {host.name} starts")
                await lab.start_host(host.name)
            if host.name in lab.cut:
                progress(f"host {host.name} is connected again")
                await lab.heal_host(host.name)
    return load(name)


def _is_of(record: LabRecord, hosts: Sequence[LabHost], network: LabPlan | None) -> bool:
    there = tuple(host.host for host in record.hosts)
    return there == tuple(hosts) and record.network == network


async def down(name: str, progress: Progress = lambda _: None) -> None:
    """End every process of the lab and take away its files; fine when there is nothing.

    Raises DeadlineExceeded when a process survives SIGKILL.
    """
    files = LabFiles(name)
    async with locking.lock():
        lab = _identity(name)
        progress(f"lab {name}: ending its processes")
        await _end_keeper(files, lab)
        await _end_processes(lab)
        _wait_for_addresses(files)
        progress(f"lab {name}: taking away its files")
        keys.distrust_hosts(lab)
        files.socket.unlink(missing_ok=True)
        for home in files.directory.glob("homes/*"):
            memory.clear(str(home / HOME_PREFIX))
        if files.directory.exists():
            shutil.rmtree(files.directory)
    _reap()
    locking.remove_if_empty(files.socket.parent, paths.labs_directory(), paths.state_directory())


def load(name: str) -> Lab:
    """The lab as it is; raises NotFound."""
    files = LabFiles(name)
    record = description.read(files)
    if record is None:
        raise NotFound(f"there is no lab {name}", hint="oakctl lab up")
    keeper = _keeper_pid(files, record.id)
    light = record.network is not None
    return Lab(
        name=name,
        id=record.id,
        directory=files.directory,
        hosts=tuple(description.view(files, host, light=light) for host in record.hosts),
        on=tuple(host.name for host in record.hosts if host.on and keeper),
        keeper=keeper,
        cut=tuple(host.name for host in record.hosts if host.cut),
        light=light,
    )


def ls() -> tuple[Lab, ...]:
    """Every lab of this state directory, by name."""
    records = sorted(paths.labs_directory().glob("*/lab.json"))
    return tuple(load(record.parent.name) for record in records)


def _identity(name: str) -> str:
    """The id of the lab called `name` of this state directory.

    It follows from the two, so that what a lab left is found even when its files are gone.
    """
    digest = hashlib.sha256(str(paths.state_directory()).encode()).hexdigest()[:12]
    return f"{name}-{digest}"


async def _bring_up(
    files: LabFiles, record: LabRecord, hosts: Sequence[LabHost], progress: Progress
) -> None:
    lab = record.id
    if not record.hosts:
        # A keeper whose files somebody removed still has the addresses.
        await _end_keeper(files, lab)
        await _end_processes(lab)
        held = addresses.hold_free(len(hosts), _numbers_of_other_labs(files.name))
        numbers = [number for number, _ in held]
        holders = [holder for _, holder in held]
        made = tuple(HostRecord(host, number) for host, number in zip(hosts, numbers, strict=True))
        record = dataclasses.replace(record, hosts=made)
    else:
        await _end_keeper(files, lab)
        holders = addresses.hold_all([host.number for host in record.hosts], ours=True)
    try:
        record = dataclasses.replace(
            record,
            hosts=tuple(dataclasses.replace(host, on=True, cut=False) for host in record.hosts),
        )
        paths.private_directory(files.directory)
        description.write(files, record)
        progress(f"keys for {len(record.hosts)} hosts")
        keys.make_keys(files, record)
        keys.trust_hosts(files, record)
        progress(f"{len(record.hosts)} hosts start")
        await _start_keeper(files, record, holders)
    finally:
        addresses.release(holders)


def _numbers_of_other_labs(name: str) -> set[int]:
    """Numbers of our labs whose keeper may be dead and comes back."""
    numbers: set[int] = set()
    for file in paths.labs_directory().glob("*/lab.json"):
        record = description.read(LabFiles(file.parent.name))
        if record is not None and record.name != name:
            numbers.update(host.number for host in record.hosts)
    return numbers


async def _start_keeper(
    files: LabFiles, record: LabRecord, holders: Sequence[socket.socket]
) -> None:
    keeper = _launch(files, record, holders)
    deadline = time.monotonic() + KEEPER_START_S
    while not await _answers(files):
        if keeper.poll() is not None:
            raise OakError(
                f"the keeper of lab {files.name} ended (exit code {keeper.returncode})",
                hint=f"oakctl lab down {files.name}",
                details=tuple(files.keeper_log.read_text(errors="replace").splitlines()[-5:]),
            )
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"the keeper of lab {files.name} did not answer within {KEEPER_START_S:.0f} s",
                hint=f"oakctl lab down {files.name}; its log is {files.keeper_log}",
            )
        await asyncio.sleep(STEP_S)


async def _answers(files: LabFiles) -> bool:
    """Whether a keeper answers; that its socket takes a connection may be its last breath."""
    try:
        await control.ask(files.socket, {"op": "ping"}, timeout_s=PING_S)
    except OakError:
        return False
    return True


def _launch(
    files: LabFiles, record: LabRecord, holders: Sequence[socket.socket]
) -> subprocess.Popen[bytes]:
    """Start a keeper that outlives this process, and inherits the addresses held."""
    source = str(Path(oakctl.__file__).resolve().parent.parent)
    search = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {
        processes.LAB_VARIABLE: record.id,
        "PYTHONPATH": os.pathsep.join(str(Path(one).absolute()) for one in search),
    }
    environment.pop(processes.HOST_VARIABLE, None)
    within = APART if record.network is not None else ()
    words = ("--lab", files.name, "--socket", str(files.socket))
    with files.keeper_log.open("ab") as output:
        keeper = subprocess.Popen(
            [*within, sys.executable, "-m", KEEPER, *words],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[holder.fileno() for holder in holders],
        )
    _launched.append(keeper)
    return keeper


def _reap() -> None:
    """Wait for keepers that this process started and that ended: no zombies, no warnings."""
    for keeper in tuple(_launched):
        if keeper.poll() is not None:
            _launched.remove(keeper)


def _keeper(lab: str) -> processes.Process | None:
    for process in processes.of_lab(lab):
        if KEEPER in process.command and process.command[:1] != APART[:1]:
            return process
    return None


def _keeper_pid(files: LabFiles, lab: str) -> int:
    if not control.answers(files.socket):
        return 0
    keeper = _keeper(lab)
    return keeper.pid if keeper else 0


async def _end_keeper(files: LabFiles, lab: str) -> None:
    """Let the keeper end its hosts and itself; kill it when it does not."""
    keeper = _keeper(lab)
    if keeper is None:
        return

    def find() -> list[processes.Process]:
        return [keeper] if processes.alive(keeper.pid, keeper.start) else []

    # Longer than its own grace, in which it ends what its hosts run.
    await _end(processes.Ending(find, 2 * GRACE_S), f"the keeper of lab {files.name}")


def _wait_for_addresses(files: LabFiles) -> None:
    """Return when the hosts' ports are free: sockets may outlive their process by a moment."""
    try:
        record = description.read(files)
        numbers = [host.number for host in record.hosts] if record else []
        addresses.release(addresses.hold_all(numbers))
    except OakError:
        return  # a damaged record, or somebody else has an address already


async def _end_processes(lab: str) -> None:
    await _end(processes.Ending(lambda: processes.of_lab(lab), GRACE_S), f"lab {lab}")


async def _end(ending: processes.Ending, what: str) -> None:
    deadline = time.monotonic() + GONE_S
    while left := ending.step():
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"{len(left)} processes of {what} do not end",
                hint="kill -9 " + " ".join(str(process.pid) for process in left),
                details=tuple(" ".join(process.command) for process in left),
            )
        await asyncio.sleep(STEP_S)
