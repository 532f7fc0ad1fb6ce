"""The runtime `process`: one instance as processes on this machine.

Belongs here: everything that touches an instance's processes, directory, log and group. Does
not belong here: when (`reconcile`), and the memory of it (`record`).

    instances/<name>/record.json   what the agent remembers
    instances/<name>/work/         working directory, HOME and TMPDIR
    instances/<name>/run/          the shim's files, one directory per attempt
    instances/<name>/log/          its output
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oakctl.model.config import HostLayout
from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import identity, launch, procfs, shim
from oakctl.orchestration.worker.cgroup import Limits
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.orchestration.worker.logs import InstanceLog
from oakctl.orchestration.worker.overlay import OverlayDriver

log = logging.getLogger("oakctl.worker.runtime")

LOW_PORT = 1024  # below it only the superuser may listen, and who is let to


@dataclass(frozen=True)
class Launch:
    """A start that is ready to be made."""

    name: str
    attempt: int
    order: dict[str, Any]
    limits: str
    bind: str


class ProcessRuntime:
    """Processes of instances below one prefix; with `separate_users` each is a user of its own."""

    def __init__(
        self,
        prefix: str,
        overlay: OverlayDriver,
        limits: Limits,
        launcher: str,
        architecture: str,
        *,
        separate_users: bool = False,
    ) -> None:
        self._layout = HostLayout(prefix)
        self._overlay = overlay
        self._limits = limits
        self._launcher = launcher
        self._architecture = architecture
        self._separate_users = separate_users
        self._boot = procfs.boot_id()
        self._children: set[int] = set()
        self._logs: dict[str, InstanceLog] = {}

    def directory(self, name: str) -> Path:
        """All that there is of an instance."""
        return Path(self._layout.instance(name))

    def working_directory(self, name: str) -> Path:
        """Where the instance runs."""
        return self.directory(name) / "work"

    def names(self) -> list[str]:
        """Instances with a directory here."""
        root = self.directory("x").parent
        return sorted(path.name for path in root.iterdir()) if root.is_dir() else []

    def log(self, name: str) -> InstanceLog:
        """The instance's log; raises OSError where there can be none."""
        if name not in self._logs:
            self._logs[name] = InstanceLog(self.directory(name) / "log")
        return self._logs[name]

    def user(self, desired: DesiredInstance) -> int | None:
        """Who the instance is; None: who the agent is. Raises ValueError for a bad address."""
        return identity.number(desired.address) if self._separate_users else None

    def prepare(self, desired: DesiredInstance, attempt: int, artifact: Path) -> Launch:
        """Everything for a start but the start; raises CannotStart or OSError."""
        manifest = launch.read_manifest(artifact)
        launch.check_fits(manifest, self._architecture, sys.version_info[:2])
        name = desired.name
        work = self.working_directory(name)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            bind = self._overlay.bind_address(desired.address)
            local_address = self._overlay.local_service_address
            environment = launch.environment(desired, work, bind, local_address)
            user = self.user(desired)
        except ValueError as error:
            raise CannotStart(f"its addresses do not fit this node: {error}") from error
        if user is not None:
            self._give(name, user)
        group = group_name(name, attempt)
        order = {
            "argv": launch.argv(manifest, desired, artifact),
            "environment": environment,
            "directory": str(work),
            "user": user,
            "low_ports": any(port.container < LOW_PORT for port in desired.service.all_ports()),
            "cgroups": self._limits.entrances(group),
        }
        words = self._limits.create(group, desired.service.requests)
        return Launch(name, attempt, order, words, bind)

    def start(self, ready: Launch) -> None:
        """Start it; raises CannotStart when something of it runs already, or OSError."""
        run = self.directory(ready.name) / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_path = self.log(ready.name).path
        try:
            child = shim.start(run, ready.attempt, ready.order, self._launcher, log_path)
        except BlockingIOError as error:
            raise CannotStart("an earlier start of this instance is still under way") from error
        self._children.add(child)
        shim.forget_before(run, ready.attempt)

    def look(self, name: str, attempt: int) -> shim.Attempt:
        """What became of a start; the agent that made it need not be this one."""
        self._reap()
        return shim.read(self.directory(name) / "run", attempt, self._boot)

    def signal(self, name: str, attempt: int, number: signal.Signals) -> int:
        """Send a signal to every process of the instance; returns to how many."""
        members = self._members(name, attempt)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(members)

    def ran_out_of_memory(self, name: str, attempt: int) -> bool:
        """Whether the kernel killed in its group for want of memory."""
        return self._limits.out_of_memory_kills(group_name(name, attempt)) > 0

    def clear(self, name: str) -> bool:
        """Kill whatever lives of an instance; whether nothing does any more.

        For directories whose record is lost, and before a new incarnation is begun.
        """
        run = self.directory(name) / "run"
        attempts = [int(path.name) for path in run.glob("[0-9]*") if path.name.isdigit()]
        found = [self.look(name, attempt) for attempt in attempts]
        for attempt in attempts:
            self.signal(name, attempt, signal.SIGKILL)
        return not any(look.held or look.lives for look in found)

    def wipe(self, name: str) -> None:
        """Remove an incarnation's files, keep its log."""
        for part in ("work", "run"):
            shutil.rmtree(self.directory(name) / part, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove everything; raises OSError when something stays."""
        self._logs.pop(name, None)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory(name))

    def sweep(self, running: dict[str, int]) -> None:
        """Take away groups of instances that do not run; `running` maps name → attempt."""
        self._reap()
        self._limits.sweep({group_name(name, attempt) for name, attempt in running.items()})
        if not running:
            self._limits.close()

    def members(self, name: str, attempt: int, everyone: list[procfs.ProcessStat]) -> set[int]:
        """Processes of the instance: of its group, and of its session among `everyone`."""
        members = self._limits.members(group_name(name, attempt))
        identity = self.look(name, attempt).process
        if identity is not None and identity.boot == self._boot:
            members |= set(procfs.session_members(identity.pid, identity.start, everyone))
        return members

    def _give(self, name: str, user: int) -> None:
        """The instance's own files are its user's, and nobody else's are."""
        work = self.working_directory(name)
        self.directory(name).chmod(identity.PASSABLE)
        closed = identity.closed_parent(work)
        if closed is not None:
            raise CannotStart(f"it would be a user of its own, and none can pass {closed} (0711)")
        others = (self.working_directory(other) for other in self.names() if other != name)
        for other in others:
            if other.is_dir() and other.stat().st_uid == user:
                raise CannotStart(f"{other.parent.name} still has its address")
        identity.hand_over(work, user)
        log_path = self.log(name).path
        log_path.touch(mode=0o600)
        # Through /dev/stderr programs open it again by themselves.
        identity.hand_over(log_path, user)

    def _members(self, name: str, attempt: int) -> set[int]:
        """All that can be found, also those that left the session: HOME tells them."""
        everyone = procfs.all_stats()
        home = str(self.working_directory(name))
        strayed = {
            stat.pid
            for stat in everyone
            if stat.state not in "ZX" and procfs.has_variable(stat.pid, "HOME", home)
        }
        return self.members(name, attempt, everyone) | strayed

    def _reap(self) -> None:
        for pid in list(self._children):
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done = pid
            if done:
                self._children.discard(pid)


def group_name(name: str, attempt: int) -> str:
    """The control group of one attempt: counters start anew with each."""
    return f"{name}.{attempt}"
