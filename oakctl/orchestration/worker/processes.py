"""The runtime `process`: one instance as processes on this machine.

Belongs here: everything that touches an instance's processes, directory, log and group. Does
not belong here: when (`reconcile`), and the memory of it (`record`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from signal import Signals
from typing import Any

from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import identity, launch, procfs, shim
from oakctl.orchestration.worker.artifacts import Artifacts
from oakctl.orchestration.worker.attempt import Attempt
from oakctl.orchestration.worker.cgroup import Limits
from oakctl.orchestration.worker.files import InstanceFiles
from oakctl.orchestration.worker.kernel_overlay import attach
from oakctl.orchestration.worker.launch import CannotStart
from oakctl.orchestration.worker.overlay import OverlayDriver
from oakctl.orchestration.worker.record import Record
from oakctl.orchestration.worker.runtime import Launch
from oakctl.orchestration.worker.secrets import Secrets

log = logging.getLogger("oakctl.worker.runtime")

LOW_PORT = 1024  # below it only the superuser may listen, and who is let to


class ProcessRuntime:
    """Processes of instances below one prefix; with `separate_users` each is a user of its own."""

    def __init__(
        self,
        files: InstanceFiles,
        artifacts: Artifacts,
        overlay: OverlayDriver,
        limits: Limits,
        launcher: str,
        architecture: str,
        secrets: Secrets,
        *,
        separate_users: bool = False,
    ) -> None:
        self._files = files
        self._artifacts = artifacts
        self._overlay = overlay
        self._limits = limits
        self._launcher = launcher
        self._architecture = architecture
        self._secrets = secrets
        self._separate_users = separate_users
        self._boot = procfs.boot_id()
        self._children: set[int] = set()

    def user(self, desired: DesiredInstance) -> int | None:
        """Who the instance is; None: who the agent is. Raises ValueError for a bad address."""
        return identity.number(desired.address) if self._separate_users else None

    def prepare(self, desired: DesiredInstance, attempt: int) -> Launch:
        """Everything for a start but the start; raises CannotStart or OSError."""
        artifact = self._artifacts.path(desired.service.code)
        manifest = launch.read_manifest(artifact)
        launch.check_fits(manifest, self._architecture, sys.version_info[:2])
        name = desired.name
        work = self._files.working_directory(name)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            bind = self._overlay.bind_address(desired.address)
            local_address = self._overlay.local_service_address
            namespace = attach(self._overlay, desired.address)
            user = self.user(desired)
            given = str(self._secrets.for_process(name, user)) if desired.service.secrets else ""
            environment = launch.environment(
                desired, work, bind, local_address, secrets_directory=given
            )
        except ValueError as error:
            raise CannotStart(f"its addresses do not fit this node: {error}") from error
        if user is not None:
            self._give(name, user)
        group = group_name(name, attempt)
        order = {
            "argv": launch.argv(manifest, desired, artifact),
            "environment": environment,
            "secrets": str(self._secrets.kept(name)) if given else "",
            "directory": str(work),
            "namespace": namespace,
            "user": user,
            "low_ports": any(port.container < LOW_PORT for port in desired.service.all_ports()),
            "cgroups": self._limits.entrances(group),
        }
        words = self._limits.create(group, desired.service.requests)
        return Launch(desired, attempt, order, words, bind)

    def start(self, ready: Launch) -> None:
        """Start it; raises CannotStart when something of it runs already, or OSError."""
        name = ready.desired.name
        run = self._files.directory(name) / "run"
        run.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_path = self._files.log(name).path
        try:
            child = shim.start(run, ready.attempt, ready.order, self._launcher, log_path)
        except BlockingIOError as error:
            raise CannotStart("an earlier start of this instance is still under way") from error
        self._children.add(child)
        shim.forget_before(run, ready.attempt)

    def look(self, known: Record) -> Attempt:
        """See `Runtime`."""
        return self._look(known.name, known.attempt)

    def signal(self, known: Record, number: Signals) -> int:
        """See `Runtime`; to every process of the instance."""
        return self._signal(known.name, known.attempt, number)

    def ran_out_of_memory(self, known: Record) -> bool:
        """See `Runtime`; within its group."""
        return self._limits.out_of_memory_kills(group_name(known.name, known.attempt)) > 0

    def clear(self, name: str) -> bool:
        """See `Runtime`. For directories whose record is lost, and before a new incarnation."""
        run = self._files.directory(name) / "run"
        attempts = [int(path.name) for path in run.glob("[0-9]*") if path.name.isdigit()]
        found = [self._look(name, attempt) for attempt in attempts]
        for attempt in attempts:
            self._signal(name, attempt, Signals.SIGKILL)
        return not any(look.held or look.lives for look in found)

    def sweep(self, running: Mapping[str, Record]) -> None:
        """See `Runtime`: groups of instances that do not run go away."""
        self._reap()
        self._limits.sweep({group_name(name, known.attempt) for name, known in running.items()})
        if not running:
            self._limits.close()

    def members(self, known: Record, everyone: list[procfs.ProcessStat]) -> set[int]:
        """See `Runtime`: of its group, and of its session among `everyone`."""
        return self._of_group_or_session(known.name, known.attempt, everyone)

    def address(self, known: Record) -> str:
        """See `Runtime`."""
        return known.bind

    def order(self, known: Record) -> dict[str, Any]:
        """By what the running attempt was started (`prepare`), with its secrets: for memory alone.

        Raises OSError or ValueError.
        """
        attempt = self._files.directory(known.name) / "run" / str(known.attempt)
        found: dict[str, Any] = json.loads((attempt / "launch.json").read_bytes())
        found["environment"] |= self._secrets.environment(known.name)
        return found

    def _look(self, name: str, attempt: int) -> Attempt:
        self._reap()
        return shim.read(self._files.directory(name) / "run", attempt, self._boot)

    def _signal(self, name: str, attempt: int, number: Signals) -> int:
        members = self._members(name, attempt)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(members)

    def _of_group_or_session(
        self, name: str, attempt: int, everyone: list[procfs.ProcessStat]
    ) -> set[int]:
        members = self._limits.members(group_name(name, attempt))
        leader = self._look(name, attempt).process
        if leader is not None and leader.boot == self._boot:
            members |= set(procfs.session_members(leader.pid, leader.start, everyone))
        return members

    def _give(self, name: str, user: int) -> None:
        """The instance's own files are its user's, and nobody else's are."""
        work = self._files.working_directory(name)
        self._files.directory(name).chmod(identity.PASSABLE)
        closed = identity.closed_parent(work)
        if closed is not None:
            raise CannotStart(f"it would be a user of its own, and none can pass {closed} (0711)")
        for other in self._files.names():
            place = self._files.working_directory(other)
            if other != name and place.is_dir() and place.stat().st_uid == user:
                raise CannotStart(f"{other} still has its address")
        identity.hand_over(work, user)
        log_path = self._files.log(name).path
        log_path.touch(mode=0o600)
        # Through /dev/stderr programs open it again by themselves.
        identity.hand_over(log_path, user)

    def _members(self, name: str, attempt: int) -> set[int]:
        """All that can be found, also those that left the session: HOME tells them."""
        everyone = procfs.all_stats()
        home = str(self._files.working_directory(name))
        strayed = {
            stat.pid
            for stat in everyone
            if stat.state not in "ZX" and procfs.has_variable(stat.pid, "HOME", home)
        }
        return self._of_group_or_session(name, attempt, everyone) | strayed

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
