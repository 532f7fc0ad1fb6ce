"""An agent on a host of a namespaces lab, told by files what a cluster would tell it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.model import wire
from oakctl.model.config import BusAccess, HostLayout, WorkerConfig
from oakctl.model.documents import DesiredDocument, ServiceTable, TablesDocument, TableTarget
from oakctl.model.instance import DesiredInstance
from oakctl.model.service import Connectivity, Port, ServiceAddresses, ServiceSpec
from tests import waiting

from .conftest import SUBNETS
from .nodes import CLOSEST, PORT, PROGRAMS, RR, end
from .requirements import REPOSITORY

FIRST, SECOND = "10.18.0.66", "10.18.0.67"
SHA = "a" * 64
JOB = "ar.ns.rec.ns"
ANSWERS_S = 240.0
# A clock that can be set for one process and those that it starts.
CLOCK = """
import time
true = time.time
def told():
    with open({0}) as file:
        return true() + float(file.read())
time.time = told
"""
PYTHON = "/usr/bin/python3"  # one that every user may run


class Agent:
    """The agent on host a, with all that a cluster has told it before it went away."""

    def __init__(self, lab: NamespaceLab, prefix: Path, docker_socket: str) -> None:
        self._lab = lab
        self.layout = HostLayout(str(prefix))
        bus = BusAccess(
            "tls://127.0.0.1:9", "edge", str(prefix / "ca"), "a", str(prefix / "secret")
        )
        config = WorkerConfig(
            *("a", "edge", str(prefix), bus), overlay_driver="kernel", docker_socket=docker_socket
        )
        (prefix / "secret").write_text("secret")
        self._put(self.layout.etc("worker.json"), config)
        self._process: subprocess.Popen[bytes] | None = None

    def told(self, *instances: DesiredInstance, elsewhere: tuple[TableTarget, ...] = ()) -> None:
        """The documents on its disk; it is not running. Of other nodes it has `elsewhere`."""
        addresses = ServiceAddresses(RR, CLOSEST)
        targets = tuple(TableTarget(i.number, i.address, "a", "edge", "") for i in instances)
        targets += elsewhere
        table = ServiceTable(JOB, "edge", 1, addresses, (Port(PORT, 8080),), targets, len(targets))
        desired = DesiredDocument("a", len(instances), SUBNETS["a"], instances)
        self._put(self.layout.state("agent/desired.json"), desired)
        self._put(self.layout.state("agent/tables.json"), TablesDocument("a", 1, (table,)))

    def has_program(self, text: str) -> None:
        """The one artifact of these tests, unpacked, with the programs beside it."""
        artifact = Path(self.layout.artifact(SHA))
        artifact.mkdir(parents=True)
        command = ["/bin/sh", "{artifact}/run"]
        (artifact / "oakctl-artifact.json").write_text(
            json.dumps({"command": command, "name": "t"})
        )
        (artifact / "run").write_text(text)
        (artifact / "run").chmod(0o755)
        shutil.copy(PROGRAMS, artifact / "programs.py")
        for file in (artifact, artifact / "programs.py"):
            file.chmod(0o755)

    def set_clock(self, by_s: float) -> None:
        """Let the clock that the agent reads be ahead by so much from now on: as one that was set.

        What never jumps (the monotonic clock) goes on, as it does on a host.
        """
        folder = Path(self.layout.run("clock"))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(CLOCK.format(repr(str(folder / "ahead"))))
        (folder / "new").write_text(str(by_s))
        (folder / "new").replace(folder / "ahead")

    def start(self) -> None:
        """Start it."""
        argv = ("-m", "oakctl.node", "worker", "--config", self.layout.etc("worker.json"))
        found = f"{self.layout.run('clock')}:{REPOSITORY}"
        more = {"PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1"}
        log = self.layout.run("log")
        shell = ("sh", "-c", f'exec "$0" "$@" 2>>{log}', sys.executable, *argv)
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        self._process = self._lab.spawn("a", shell, more)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            end(self._process)
        self._process = None

    def clear(self) -> None:
        """What the removal of a worker runs."""
        more = f"PYTHONPATH={REPOSITORY}"
        prefix = ("--prefix", str(Path(self.layout.etc("x")).parent.parent))
        self._lab.run("a", ("env", more, sys.executable, "-m", "oakctl.node", "clear", *prefix))

    def _put(self, path: str, message: object) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(wire.encode(message))


@contextmanager
def agent_on(lab: NamespaceLab, docker_socket: str = "") -> Iterator[Agent]:
    """With a prefix that others can come to, as /opt is; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="oakctl-test-", dir="/var/tmp"))
    made = Agent(lab, folder, docker_socket)
    try:
        yield made
    finally:
        made.kill()
        made.clear()
        shutil.rmtree(folder)


def instance(address: str, number: int, **changes: object) -> DesiredInstance:
    talks = (Connectivity(JOB, addresses=ServiceAddresses(RR, CLOSEST)),)
    ports = (Port(PORT, 8080),)
    spec = ServiceSpec(JOB, "ar.ns", "process", SHA, ports=ports, connectivity=talks)
    spec = replace(spec, **changes)  # type: ignore[arg-type]
    return DesiredInstance(spec, number, 1, address, {"OAKCTL_ADDR_REC": RR})


def answers(lab: NamespaceLab, host: str, address: str, times: int, port: int = PORT) -> set[str]:
    words = (sys.executable, "-S", PROGRAMS, "ask", address, str(port), str(times), "tcp")
    return {answer.split()[0] for answer in json.loads(lab.run(host, words))}


def until(
    lab: NamespaceLab, wanted: set[str], host: str = "a", address: str = RR, times: int = 10
) -> None:
    """Wait until those that are `wanted` answer, and nobody else."""
    waiting.until_now(
        f"answers at {address}",
        lambda: answers(lab, host, address, times),
        lambda found: found == wanted,
        wait_s=ANSWERS_S,
    )
