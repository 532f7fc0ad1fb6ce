"""Machine labs: up, down, and what can be done to their hosts.

Belongs here: the order of things, and what is stored of them. It works after whatever an
interrupted call left. Does not belong here: how a host or a network is made.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oakctl import paths
from oakctl.errors import Conflict, NotFound
from oakctl.lab import description, keys, locking, processes
from oakctl.lab.machines import emulation, image, network, record, tools, topology, traces
from oakctl.lab.machines.lab_file import LabPlan
from oakctl.lab.machines.machine import Machine
from oakctl.lab.machines.recipe import recipe
from oakctl.lab.machines.record import MachineFiles, MachineLab
from oakctl.lab.machines.shell import Shell, mounts_below, unmount_below
from oakctl.model.views import HostView

RECORD = record.RECORD

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Lab:
    """A lab that is there. `on`: hosts that run; `cut`: hosts whose cables are pulled."""

    name: str
    id: str
    directory: Path
    hosts: tuple[HostView, ...]
    on: tuple[str, ...]
    cut: tuple[str, ...]

    def host(self, name: str) -> HostView:
        """The host called `name`; raises NotFound."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise NotFound(f"lab {self.name} has no host {name}", hint="oakctl lab ls")

    @property
    def sudo_password(self) -> str:
        """What sudo asks for on hosts with `sudo: password`."""
        return MachineFiles(self.name).sudo_password.read_text().strip()

    async def start_host(self, name: str) -> None:
        """Turn a host on; returns when its user can log in, or at once while it is cut off."""
        async with _at_work(self.name, name) as (shell, files, lab):
            if not Machine(shell, files, lab, name).is_on():
                await network.forget_host(shell, files, lab, name)
            await network.make(shell, files, lab)
            await _start(shell, files, lab, name, _silent)

    async def stop_host(self, name: str) -> None:
        """Shut a host down in order."""
        async with _at_work(self.name, name) as (shell, files, lab):
            await Machine(shell, files, lab, name).shut_down()

    async def power_cut(self, name: str) -> None:
        """Kill everything on a host at once and leave it off."""
        async with _at_work(self.name, name) as (shell, files, lab):
            await Machine(shell, files, lab, name).kill()

    async def cut_host(self, name: str) -> None:
        """Pull all cables of a host, the one that it is reached by as well."""
        async with _at_work(self.name, name) as (shell, files, lab):
            record.write(files, dataclasses.replace(lab, cut=(*sorted({*lab.cut, name}),)))
            plugs = topology.switched(lab.topology, name, on=False)
            await network.run(shell, files, plugs)

    async def heal_host(self, name: str) -> None:
        """Plug the cables in again."""
        async with _at_work(self.name, name) as (shell, files, lab):
            record.write(files, _healed(lab, name))
            plugs = topology.switched(lab.topology, name, on=True)
            await network.run(shell, files, plugs)

    async def reflash_hosts(self, names: Collection[str]) -> None:
        """Make hosts anew: nothing that they wrote is left, and their host keys are others.

        known_hosts keeps the old keys, as it would with real machines; `up` trusts the new ones.
        """

        async with _at_work(self.name, *names) as (shell, files, lab):
            for name in names:
                await Machine(shell, files, lab, name).erase()
                await network.forget_host(shell, files, lab, name)
            await network.make(shell, files, lab)
            slots = asyncio.Semaphore(os.cpu_count() or 1)
            await _all(_start(shell, files, lab, name, _silent, slots) for name in names)


async def up(
    name: str, plan: LabPlan, progress: Progress = lambda _: None, *, install: bool = True
) -> Lab:
    """Make the lab, or bring what is there of it back: idempotent; an interrupted call goes on.

    Afterwards every host is on, connected and trusted. `install`: whether it may install
    packages on this machine. Raises Conflict when there is a lab of that name with other hosts.
    """
    tools.check_machine()
    files = MachineFiles(name)
    shell = Shell(record.identity(name))
    if files.common.record.exists():
        raise Conflict(f"lab {name} is there, of kind loopback", hint=f"oakctl lab down {name}")
    _same(record.read(files), plan)
    bases = {recipe(host, platform.machine()) for host in plan.hosts}
    emulators = {needed for base in bases if (needed := emulation.needed(base)) is not None}
    await tools.install(shell, emulators, progress, allowed=install)
    for base in sorted(bases, key=lambda base: base.key):
        # It may take minutes, so the lock is not held yet.
        await image.ensure(shell, base, plan.mirror, progress)
    async with locking.lock():
        lab = record.read(files) or await _new(shell, files, plan)
        _same(lab, plan)
        lab = dataclasses.replace(lab, cut=())
        record.write(files, lab)
        paths.private_directory(files.user_key.parent)
        keys.make_key(files.user_key, f"{keys.MARK}{lab.id}")
        description.write_atomically(files.sudo_password, f"{lab.sudo_password}\n".encode())
        progress(f"network {lab.block}")
        await network.make(shell, files, lab)
        slots = asyncio.Semaphore(os.cpu_count() or 1)
        await _all(_start(shell, files, lab, host.name, progress, slots) for host in plan.hosts)
        _trust(files, lab)
    return load(name)


async def down(name: str, progress: Progress = lambda _: None) -> None:
    """End every process of the lab and take away all that it is; fine when there is nothing.

    Base images stay in the cache, and packages stay installed. Raises OakError when something
    can't be ended or unmounted.
    """
    tools.check_machine()
    files = MachineFiles(name)
    lab = record.identity(name)
    shell = Shell(lab)
    async with locking.lock():
        progress(f"lab {name}: ending its hosts")
        await traces.kill(shell, record.unit(lab, "*"))
        for root in (files.directory / "hosts").glob("*/root"):
            traces.forget_lock(root)
        traces.forget_state()
        progress(f"lab {name}: taking away its network and its files")
        await unmount_below(shell, files.directory / "hosts")
        await network.remove(shell, files, record.tag(lab))
        await _sweep(shell)
        # What an `up` that was killed was still mounting ends with that, and may just have come.
        await unmount_below(shell, files.directory / "hosts")
        keys.distrust_hosts(lab)
        if mounts_below(files.directory):
            raise Conflict(f"something is mounted below {files.directory}", hint="findmnt")
        # With a loopback lab of that name in it, the directory is that lab's, whose keeper runs.
        if files.directory.exists() and not files.common.record.exists():
            shutil.rmtree(files.directory)
    locking.remove_if_empty(paths.labs_directory(), paths.state_directory())


async def sweep(name: str) -> None:
    """Take away what interrupted builds left and emulation that nobody uses: no lab's own.

    `name`: the lab on whose behalf it is done. Raises OakError.
    """
    tools.check_machine()
    async with locking.lock():
        await _sweep(Shell(record.identity(name)))


def is_there(name: str) -> bool:
    """Whether anything of this very lab is there, be it what an accident left."""
    lab = record.identity(name)
    links = topology.operator_links(record.tag(lab))
    return (
        MachineFiles(name).record.exists()
        or bool(mounts_below(MachineFiles(name).directory))
        or any(Path("/sys/class/net", link).exists() for link in links)
        or bool(traces.cgroups(record.unit(lab, "*")))
        or bool(processes.of_lab(lab))
    )


def is_littered() -> bool:
    """Whether there is what `sweep` may take away."""
    return sys.platform == "linux" and (emulation.is_left() or bool(image.drafts()))


def load(name: str) -> Lab:
    """The lab as it is; raises NotFound."""
    files = MachineFiles(name)
    lab = _existing(files)
    shell = Shell(lab.id)
    names = [host.name for host in lab.plan.hosts]
    return Lab(
        name=name,
        id=lab.id,
        directory=files.directory,
        hosts=tuple(record.view(files, lab, host) for host in names),
        on=tuple(host for host in names if Machine(shell, files, lab, host).is_on()),
        cut=lab.cut,
    )


def ls() -> tuple[Lab, ...]:
    """Every machine lab of this state directory, by name."""
    records = sorted(paths.labs_directory().glob(f"*/{record.RECORD}"))
    return tuple(load(file.parent.name) for file in records)


@asynccontextmanager
async def _at_work(name: str, *hosts: str) -> AsyncIterator[tuple[Shell, MachineFiles, MachineLab]]:
    """Hold the lock of all labs; what is known of this one is read while it is held."""
    tools.check_machine()
    files = MachineFiles(name)
    async with locking.lock():
        lab = _existing(files)
        for host in hosts:
            lab.host(host)
        yield Shell(lab.id), files, lab


def _existing(files: MachineFiles) -> MachineLab:
    lab = record.read(files)
    if lab is None:
        raise NotFound(f"there is no lab {files.name}", hint="oakctl lab up --kind machines")
    return lab


def _same(lab: MachineLab | None, plan: LabPlan) -> None:
    if lab is not None and lab.plan != plan:
        raise Conflict(
            f"lab {lab.name} is there with other hosts",
            hint=f"oakctl lab down {lab.name}, or another --name",
        )


async def _new(shell: Shell, files: MachineFiles, plan: LabPlan) -> MachineLab:
    others = [
        other.block
        for file in paths.labs_directory().glob(f"*/{record.RECORD}")
        if (other := record.read(MachineFiles(file.parent.name))) is not None
    ]
    block = topology.choose_block([*await network.used_networks(shell), *others])
    return MachineLab(files.name, shell.lab, block, plan, secrets.token_urlsafe(12))


async def _start(
    shell: Shell,
    files: MachineFiles,
    lab: MachineLab,
    name: str,
    progress: Progress,
    slots: asyncio.Semaphore | None = None,
) -> None:
    """Lay out a host and boot it; with `slots`, not more than that many at a time."""
    async with slots or asyncio.Semaphore():
        base = recipe(lab.host(name), platform.machine())
        machine = Machine(shell, files, lab, name)
        made = await image.ensure(shell, base, lab.plan.mirror, progress)
        async with emulation.ready(shell, emulation.needed(base)):
            await machine.lay_out(made)
            began = time.monotonic()
            await machine.boot(reachable=name not in lab.cut)
        progress(f"host {name} is on ({time.monotonic() - began:.1f} s)")


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; the first error ends the others and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sweep(shell: Shell) -> None:
    await image.sweep(shell)
    await emulation.release(shell)


def _trust(files: MachineFiles, lab: MachineLab) -> None:
    lines = []
    for host in lab.plan.hosts:
        public = files.host_key(host.name).with_suffix(".pub").read_text().split()
        mark = f"{keys.MARK}{lab.id}"
        lines.append(f"{lab.address(host.name)} {public[0]} {public[1]} {mark}")
    keys.trust(lab.id, lines)


def _healed(lab: MachineLab, name: str) -> MachineLab:
    return dataclasses.replace(lab, cut=tuple(host for host in lab.cut if host != name))


def _silent(_: str) -> None:
    return None
