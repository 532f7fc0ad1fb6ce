"""A machine lab as it is stored, and where its files lie.

Belongs here: shapes and paths. Does not belong here: making any of it (`lab`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from oakctl import paths
from oakctl.errors import NotFound, OakError
from oakctl.lab.description import LabFiles, write_atomically
from oakctl.lab.machines import topology
from oakctl.lab.machines.lab_file import LabPlan, MachineHost
from oakctl.lab.machines.recipe import USER
from oakctl.lab.machines.topology import Topology
from oakctl.model import wire
from oakctl.model.views import HostView

SSH_PORT = 22
RECORD = "machines.json"


@dataclass(frozen=True)
class MachineLab:
    """`machines.json`, mode 0600. `id` is in the environment of every process of the lab."""

    name: str
    id: str
    block: str
    plan: LabPlan
    sudo_password: str
    cut: tuple[str, ...] = ()  # hosts whose cables are pulled

    @property
    def tag(self) -> str:
        """Six letters that tell this lab's interfaces and cgroups from others'."""
        return tag(self.id)

    @property
    def topology(self) -> Topology:
        """Its network."""
        return topology.plan_network(self.plan, self.block, self.tag)

    def host(self, name: str) -> MachineHost:
        """The host called `name`; raises NotFound."""
        for host in self.plan.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.plan.hosts)
        raise NotFound(f"lab {self.name} has no host {name}", hint=f"it has {known}")

    def address(self, host: str) -> str:
        """Where the operator reaches `host`."""
        return self.topology.reach[host]

    def unit(self, host: str) -> str:
        """The host's name as a machine, and of its cgroup."""
        return unit(self.id, host)


class MachineFiles:
    """Where everything of one lab lies, below the directory that a lab of that name has.

    machines.json          MachineLab
    keys/                  id_ed25519 (what logs in), host-<name> (host keys)
    sudo-password          of the hosts' user, where sudo asks for one
    net/<node>             a network namespace each, mounted here
    hosts/<name>/upper     what the host wrote; work, root: its overlay; docker; console.log
    """

    def __init__(self, name: str) -> None:
        self.common = LabFiles(name)
        self.name = name
        self.directory = self.common.directory
        self.record = self.directory / RECORD
        self.user_key = self.common.user_key
        self.sudo_password = self.directory / "sudo-password"
        self.networks = self.directory / "net"

    def network(self, node: str) -> Path:
        """Where the namespace of a node is mounted."""
        return self.networks / node

    def host_key(self, host: str) -> Path:
        """The private host key of `host`."""
        return self.common.host_key(host)

    def host(self, host: str) -> Path:
        """The directory of a host."""
        return self.directory / "hosts" / host


def read(files: MachineFiles) -> MachineLab | None:
    """The lab's record; None when there is no such lab. Raises OakError when it is damaged."""
    try:
        return wire.decode(files.record.read_bytes(), MachineLab)
    except FileNotFoundError:
        return None
    except wire.Malformed as error:
        raise OakError(f"{files.record}: {error}", hint=f"oakctl lab down {files.name}") from error


def write(files: MachineFiles, lab: MachineLab) -> None:
    """Store the record, whole or not at all."""
    paths.private_directory(files.directory)
    write_atomically(files.record, wire.encode(lab))


def identity(name: str) -> str:
    """The id of the machine lab called `name` of this state directory.

    It follows from the two, so that what a lab left is found even when its files are gone.
    """
    digest = hashlib.sha256(str(paths.state_directory()).encode()).hexdigest()[:12]
    return f"machines-{name}-{digest}"


def tag(lab: str) -> str:
    """Six letters that tell the lab's interfaces and cgroups from others'."""
    return hashlib.sha256(lab.encode()).hexdigest()[:6]


def unit(lab: str, host: str) -> str:
    """A host's name as a machine, and of its cgroup; with `*` a pattern for all of the lab."""
    return f"oakl-{tag(lab)}-{host}"


def view(files: MachineFiles, lab: MachineLab, host: str) -> HostView:
    """The host as the root is told of it."""
    return HostView(
        name=host,
        address=lab.address(host),
        port=SSH_PORT,
        user=USER,
        identity_file=str(files.user_key),
        lab=lab.name,
    )
