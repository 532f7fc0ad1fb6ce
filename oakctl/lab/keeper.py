"""The keeper: the one process of a lab that is its hosts' sshd and init.

    python -m oakctl.lab.keeper --lab NAME --socket PATH

Belongs here: putting SSH servers, supervisors and the control socket together. The keeper is a
child subreaper, so that what its hosts leave behind becomes its child and not init's. Killed and
started again it adopts what runs; of light hosts nothing does, as they are in the keeper's own
namespaces and end with it. Does not belong here: making a lab (`loopback`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh

from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.lab import control, description, processes
from oakctl.lab.children import Children
from oakctl.lab.description import HostRecord, LabFiles, LabRecord
from oakctl.lab.namespaces import cables, plans
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.lab.namespaces.place import Apart
from oakctl.lab.place import Place
from oakctl.lab.ssh_host import SshHost, SshLog
from oakctl.lab.supervisor import HostSupervisor
from oakctl.model import wire
from oakctl.model.config import Unit

log = logging.getLogger("oakctl.lab.keeper")

GRACE_S = 5.0
STEP_S = 0.05
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def host_environment(files: LabFiles, lab: LabRecord, record: HostRecord) -> dict[str, str]:
    """What every process on a host starts with."""
    # The interpreter below our virtual environment: on a host `python3` is a plain one.
    python = Path(getattr(sys, "_base_executable", sys.executable)).parent
    host = record.host
    declared = {"vcpus": host.vcpus, "memory_mb": host.memory_mb, "vgpus": host.vgpus}
    environment = {
        "HOME": str(files.home(record.name)),
        "USER": description.user_name(),
        "LOGNAME": description.user_name(),
        "SHELL": "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh",
        "PATH": ":".join(dict.fromkeys((str(python), *SYSTEM_PATH))),
        "LANG": "C.UTF-8",
        processes.LAB_VARIABLE: lab.id,
        processes.HOST_VARIABLE: record.name,
        "OAKCTL_SUPERVISOR": f"plain:{files.socket}",
        **_network(lab, record),
        "OAKCTL_DECLARED": json.dumps({key: value for key, value in declared.items() if value}),
    }
    if host.location is not None:
        environment["OAKCTL_LOCATION"] = f"{host.location.latitude},{host.location.longitude}"
    return environment


def _network(lab: LabRecord, record: HostRecord) -> dict[str, str]:
    """Where others find the host, and which overlay it is to have."""
    if lab.network is None:
        number = str(record.number)
        return {"OAKCTL_HOST_ADDRESS": record.address, "OAKCTL_LOOPBACK_NUMBER": number}
    address = plans.address(plans.network(lab.network), record.name)
    return {"OAKCTL_HOST_ADDRESS": address, "OAKCTL_OVERLAY": "kernel"}


class LabMachine:
    """One host: its SSH server and its supervisor, on or off."""

    def __init__(
        self, files: LabFiles, lab: LabRecord, record: HostRecord, place: Place, log: SshLog
    ) -> None:
        self.name = record.name
        self.on = False
        self._lab = lab.id
        environment = host_environment(files, lab, record)
        self._place = place
        self._ssh = SshHost(files, record, environment, place, log)
        self._home = files.home(record.name)
        self._supervisor = HostSupervisor(
            lab=lab.id,
            host=record.name,
            home=self._home,
            running=files.running(record.name),
            environment=environment,
            place=place,
        )

    @property
    def supervisor(self) -> HostSupervisor:
        """The host's supervisor; raises Conflict when the host is off."""
        if not self.on:
            raise Conflict(f"host {self.name} is off", hint=f"oakctl lab start {self.name}")
        return self._supervisor

    async def start(self, *, reachable: bool = True) -> None:
        """Power on; it answers SSH where it is `reachable`."""
        if not self.on:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._place.turn_on()
            await self._supervisor.resume()
            self.on = True
            if reachable:
                await self._ssh.open()

    async def answer(self, *, wanted: bool) -> None:
        """Answer SSH or not, as a host that was cut off does; its sessions end then."""
        await self._ssh.close()
        if wanted and self.on:
            await self._ssh.open()

    async def stop(self, *, grace_s: float) -> None:
        """Power off; with no grace at all it is a power cut."""
        self.on = False
        await self._supervisor.halt()
        if grace_s == 0:
            self._place.pull()
            await self._end_all(0)
        await self._ssh.close()
        await self._end_all(grace_s)
        self._place.turn_off()

    async def _end_all(self, grace_s: float) -> None:
        def find() -> list[processes.Process]:
            return processes.of_lab(self._lab, self.name)

        ending = processes.Ending(find, grace_s)
        while True:
            if not ending.step():
                return
            await asyncio.sleep(STEP_S)


class Keeper:
    """All hosts of one lab, and what may be asked of them."""

    def __init__(
        self,
        files: LabFiles,
        record: LabRecord,
        children: Children,
        log: SshLog,
        light: NamespaceLab | None = None,
    ) -> None:
        self._files = files
        self._record = record
        self._light = light
        self._machines = {
            host.name: LabMachine(files, record, host, self._place(children, host.name), log)
            for host in record.hosts
        }

    def _place(self, children: Children, host: str) -> Place:
        return Apart(children, self._light, host) if self._light else Place(children)

    async def start(self) -> None:
        """Power on every host that was not turned off."""
        for host in self._record.hosts:
            if host.on:
                await self._start(host.name)

    async def _start(self, name: str) -> None:
        record = self._record.host(name)
        await self._machines[name].start(reachable=not record.cut)
        if self._light is not None:
            cables.restore(self._light, record)

    async def stop(self) -> None:
        """End everything on every host."""
        await asyncio.gather(*(one.stop(grace_s=GRACE_S) for one in self._machines.values()))

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the socket; raises OakError, KeyError or ValueError."""
        operation = request["op"]
        if operation == "ping":
            return {"pid": os.getpid(), "on": [m.name for m in self._machines.values() if m.on]}
        machine = self._machines.get(request["host"])
        if machine is None:
            raise NotFound(f"lab {self._record.name} has no host {request['host']}")
        if operation in ("host-start", "host-stop", "power-cut"):
            await self._power(machine, operation)
            return {}
        if operation in ("cut", "heal", "slow"):
            await self._cable(machine, request)
            return {}
        return {"units": await _unit(machine.supervisor, operation, request)}

    async def _power(self, machine: LabMachine, operation: str) -> None:
        # Durable first: a host that is off stays off when the keeper is killed meanwhile.
        self._remember(machine.name, on=operation == "host-start")
        if operation == "host-start":
            await self._start(machine.name)
        else:
            await machine.stop(grace_s=GRACE_S if operation == "host-stop" else 0)

    async def _cable(self, machine: LabMachine, request: dict[str, Any]) -> None:
        """Whatever it was, the cable is as the record says afterwards."""
        if self._light is None:
            raise UsageError(f"the hosts of lab {self._record.name} have no cables")
        before = self._record.host(machine.name)
        self._remember(machine.name, **cables.changes(request))
        record = self._record.host(machine.name)
        try:
            if machine.on:
                cables.restore(self._light, record)
        except OakError:  # what cannot be is not tried again at every start of the host
            self._remember(machine.name, cut=before.cut, slow=before.slow)
            raise
        if request["op"] != "slow":
            await machine.answer(wanted=not record.cut)

    def _remember(self, name: str, **changes: Any) -> None:
        hosts = tuple(
            dataclasses.replace(host, **changes) if host.name == name else host
            for host in self._record.hosts
        )
        self._record = dataclasses.replace(self._record, hosts=hosts)
        description.write(self._files, self._record)


async def _unit(
    supervisor: HostSupervisor, operation: str, request: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    name = request.get("name") or ""
    if operation == "status":
        return supervisor.status(name)
    if operation == "put":
        unit = wire.from_plain(request["unit"], Unit)
        await supervisor.put(unit)
        return supervisor.status(unit.name)
    verbs = {
        "start": supervisor.start,
        "stop": supervisor.stop,
        "restart": supervisor.restart,
        "remove": supervisor.remove,
    }
    if operation not in verbs:
        raise UsageError(f"unknown request {operation!r}")
    await verbs[operation](name)
    return {} if operation == "remove" else supervisor.status(name)


async def keep(files: LabFiles) -> None:
    """Keep the lab until SIGTERM or SIGINT; then end all of it. Raises OakError."""
    record = description.read(files)
    if record is None:
        raise NotFound(f"there is no lab {files.name}", hint="oakctl lab up")
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    ssh_log = SshLog(files.ssh_log)
    with Children() as children, _network_of(record) as light:
        keeper = Keeper(files, record, children, ssh_log, light)
        await keeper.start()
        server = await control.serve(files.socket, keeper.handle)
        log.info("keeping lab %s, pid %d", files.name, os.getpid())
        await end.wait()
        server.close()
        await keeper.stop()
        files.socket.unlink(missing_ok=True)
    ssh_log.close()


@contextlib.contextmanager
def _network_of(record: LabRecord) -> Iterator[NamespaceLab | None]:
    """The namespaces of light hosts, in the user namespace in which this process is root."""
    if record.network is None:
        yield None
        return
    off = [host.name for host in record.hosts if not host.on]
    with NamespaceLab(record.network, as_user=False, off=off) as light:
        yield light


def main() -> int:
    """Run a keeper in the foreground."""
    parser = argparse.ArgumentParser(prog="oakctl.lab.keeper")
    parser.add_argument("--lab", required=True)
    parser.add_argument("--socket", type=Path, required=True)
    given = parser.parse_args()
    # Its path has the user's number in it, who may be another one in here.
    files = LabFiles(given.lab, given.socket)
    os.umask(0o077)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.Formatter.converter = time.gmtime
    asyncssh.set_log_level(logging.ERROR)
    try:
        asyncio.run(keep(files))
    except (OakError, OSError) as error:
        log.error("%s", error)
        return int(getattr(error, "exit_code", 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
