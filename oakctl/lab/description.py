"""What a lab is made of, as it is stored: its hosts, their addresses, and where its files lie.

Belongs here: shapes and paths. Does not belong here: processes (`keeper`) or making any of it
(`loopback`).
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from oakctl import paths
from oakctl.errors import NotFound, OakError, UsageError
from oakctl.lab.machines.lab_file import LabPlan
from oakctl.lab.slow import Slow
from oakctl.model import wire
from oakctl.model.resources import Location
from oakctl.model.views import HostView

SSH_PORT = 2222
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class LabHost:
    """One host to make. Zero: what this machine has; `vgpus` are declared, not really there."""

    name: str
    vcpus: float = 0.0  # cores
    memory_mb: int = 0  # MiB
    vgpus: int = 0
    location: Location | None = None


@dataclass(frozen=True)
class HostRecord:
    """A host as it was made: `number` N makes it 127.N.0.1. `on` false: its power is off.

    Of a light host this is where the keeper passes SSH on; its cable may be pulled or slow.
    """

    host: LabHost
    number: int
    on: bool = True
    cut: bool = False
    slow: Slow = Slow()

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host.name

    @property
    def address(self) -> str:
        """Where it answers SSH. Of a loopback host all ports of this address are its own."""
        return f"127.{self.number}.0.1"


@dataclass(frozen=True)
class LabRecord:
    """`lab.json`. `id` is in the environment of every process of the lab.

    Hosts with a `network` are light ones, with namespaces of their own.
    """

    name: str
    id: str
    hosts: tuple[HostRecord, ...]
    network: LabPlan | None = None

    def host(self, name: str) -> HostRecord:
        """The host called `name`; raises NotFound."""
        for record in self.hosts:
            if record.name == name:
                return record
        known = ", ".join(record.name for record in self.hosts)
        raise NotFound(f"lab {self.name} has no host {name}", hint=f"it has {known}")


class LabFiles:
    """Where everything of one lab lies.

    lab.json         LabRecord
    keys/            id_ed25519 (what logs in), host-<name> (host keys)
    homes/<name>/    the home directory of a host
    run/<name>/      what the keeper knows of running units
    ssh.log          one line per login and command, with the host's name
    keeper.log       output of the keeper
    """

    def __init__(self, name: str, socket: Path | None = None) -> None:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name for a lab",
                hint="lower-case letters, digits and dashes, at most 32",
            )
        self.name = name
        self.directory = paths.labs_directory() / name
        self.record = self.directory / "lab.json"
        self.user_key = self.directory / "keys" / "id_ed25519"
        self.ssh_log = self.directory / "ssh.log"
        self.keeper_log = self.directory / "keeper.log"
        self._socket = socket

    @property
    def socket(self) -> Path:
        """Where the keeper answers."""
        return self._socket or paths.socket_path(f"lab-{self.name}.sock")

    def host_key(self, host: str) -> Path:
        """The private host key of `host`."""
        return self.directory / "keys" / f"host-{host}"

    def home(self, host: str) -> Path:
        """The home directory of `host`."""
        return self.directory / "homes" / host

    def running(self, host: str) -> Path:
        """Where the keeper writes what runs on `host`."""
        return self.directory / "run" / host


def read(files: LabFiles) -> LabRecord | None:
    """The lab's record; None when there is no such lab. Raises OakError when it is damaged."""
    try:
        return wire.decode(files.record.read_bytes(), LabRecord)
    except FileNotFoundError:
        return None
    except wire.Malformed as error:
        raise OakError(f"{files.record}: {error}", hint=f"oakctl lab down {files.name}") from error


def write(files: LabFiles, record: LabRecord) -> None:
    """Store the record, whole or not at all."""
    write_atomically(files.record, wire.encode(record))


def write_atomically(path: Path, body: bytes) -> None:
    """`path` holds either what it held or `body`; mode 0600."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def user_name() -> str:
    """Who logs in to a lab's hosts: the user whose lab it is."""
    return pwd.getpwuid(os.getuid()).pw_name


def view(files: LabFiles, record: HostRecord, *, light: bool = False) -> HostView:
    """The host as the root is told of it. On a light one everybody is root of its namespaces."""
    return HostView(
        name=record.name,
        address=record.address,
        port=SSH_PORT,
        user="root" if light else user_name(),
        identity_file=str(files.user_key),
        lab=files.name,
    )
