"""The hosts that tests/lab has: one machine lab for all of its tests, bare at the start of each.

Belongs here: making them, making them bare again, looking into them from outside. What is read
here goes past the hosts' own tools: a host's disk is a directory of this machine, its processes
are processes of this machine. Does not belong here: what a test does to them.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oakctl.cli import ssh
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines import record, traces
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Site, Sudo, Suite
from oakctl.model.views import HostView

NAME = "tests"
REMOTE_S = 300  # emulated, under load

PLAN = LabPlan(
    hosts=(
        MachineHost("orch"),
        MachineHost("w-bookworm", suite=Suite.BOOKWORM, sudo=Sudo.PASSWORD),
        MachineHost("w-trixie"),
        MachineHost("w-bullseye", suite=Suite.BULLSEYE),
        MachineHost("w-nat", site="home"),
    ),
    sites=(Site("home"),),
)


@dataclass(frozen=True)
class Host:
    """One host: as it is reached, and where it is looked into. `password`: sudo asks for it."""

    view: HostView
    password: str
    directory: Path  # of the lab: `upper` is all that it wrote, `root` its whole disk
    unit: str
    lab: str

    @property
    def name(self) -> str:
        """What the lab calls it."""
        return self.view.name

    @property
    def written(self) -> Path:
        """All that is on its disk and not in the image that it was made of."""
        return self.directory / "upper"

    @property
    def disk(self) -> Path:
        """Its whole disk, mounted while the lab is up."""
        return self.directory / "root"

    def processes(self) -> Iterator[Path]:
        """Everything that runs on it, as directories of /proc on this machine."""
        for pid in traces.pids(self.lab, self.unit, self.name):
            yield Path("/proc") / str(pid)

    def run(
        self, command: str, stdin: str = "", *, root: bool = False, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command by the system's ssh, with `root` as the superuser."""
        argv = ["sh", "-c", command]
        if root:
            # -k: it asks each time, so that the first line of the input is always the password.
            ask = ["sudo", "-k", "-S", "-p", ""] if self.password else ["sudo", "-n"]
            argv = [*ask, *argv]
            stdin = f"{self.password}\n{stdin}" if self.password else stdin
        arguments = ssh.arguments(self.view, argv)
        arguments[1:1] = [
            *("-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
            # Its key is another one after each reflash; what is tested is not this call.
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "LogLevel=ERROR"),
        ]
        done = subprocess.run(
            arguments, input=stdin, capture_output=True, text=True, timeout=REMOTE_S
        )
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done


class FleetHosts:
    """The lab's hosts by name; those that were given out are made anew before the next time."""

    def __init__(self, plan: LabPlan = PLAN, name: str = NAME) -> None:
        self._plan = plan
        self._name = name
        self._used: set[str] = set()

    def up(self) -> None:
        """Boot them all; the base images are made when they are not in the cache."""
        asyncio.run(machines.up(self._name, self._plan, print))

    def down(self) -> None:
        """Take everything away."""
        asyncio.run(machines.down(self._name))

    def lab(self) -> machines.Lab:
        """The lab as it is now."""
        return machines.load(self._name)

    def bare(self, *names: str) -> dict[str, Host]:
        """Those hosts, on, connected and as they were installed; without names all of them."""
        wanted = names or tuple(host.name for host in self._plan.hosts)
        lab = self.lab()
        asyncio.run(lab.reflash_hosts([name for name in wanted if name in self._used]))
        for name in set(wanted) & set(lab.cut):
            asyncio.run(lab.heal_host(name))
        self._used |= set(wanted)
        lab = self.lab()
        return {name: self._host(lab, name) for name in wanted}

    def _host(self, lab: machines.Lab, name: str) -> Host:
        asks = any(h.name == name and h.sudo is Sudo.PASSWORD for h in self._plan.hosts)
        return Host(
            lab.host(name),
            lab.sudo_password if asks else "",
            lab.directory / "hosts" / name,
            record.unit(lab.id, name),
            lab.id,
        )
