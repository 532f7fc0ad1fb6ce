"""The seam to the machines: everything the root has done by SSH goes through here.

Belongs here: from a host's view to an SSH target, and the calls of `oakctl.remote`. Does not
belong here: when they are made (`root.bootstrap`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

from oakctl.model.requests import PlaybookRun
from oakctl.model.views import HostFinding, HostView, StepEvent
from oakctl.orchestration.root.links import TunnelLike
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import bootstrap, hostkeys, route
from oakctl.remote.bootstrap import (
    ClusterAccess,
    ClusterInputs,
    Look,
    Survey,
    WorkerInputs,
)
from oakctl.remote.facts import HostFacts
from oakctl.remote.gate import Gate
from oakctl.remote.privilege import WrongPassword
from oakctl.remote.reachability import check_reachability
from oakctl.remote.step import Remote, Step
from oakctl.remote.target import Target
from oakctl.remote.tunnel import Tunnel

Report = Callable[[StepEvent], None]
Role = ClusterInputs | WorkerInputs | PlaybookRun


class Installer(Protocol):
    """What a root needs of the machines. All but `tunnel` and `reach` block, and are
    called in threads."""

    def cluster(
        self,
        host: HostView,
        accept_new: bool,
        inputs: ClusterInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> ClusterAccess:
        """Make the host a cluster's orchestrator, or find it so."""

    def worker(
        self,
        host: HostView,
        accept_new: bool,
        inputs: WorkerInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        """Make the host a worker, or find it so."""

    def facts(self, host: HostView, accept_new: bool) -> HostFacts:
        """Look at the host, and change nothing there; raises OakError."""

    async def reach(
        self,
        hosts: Sequence[HostView],
        orchestrator: HostView,
        accept_new: bool,
        facts: HostFacts,
    ) -> list[HostFinding]:
        """Which of `hosts` will not reach a bus on `orchestrator`, whose facts are given."""

    def remove(self, host: HostView, role: str, report: Report, cancelled: threading.Event) -> None:
        """Take everything of a role ("worker", "cluster") from the host."""

    def forget_key(self, host: HostView) -> None:
        """Take the host's key out of oakctl's own store."""

    def survey(self, host: HostView, accept_new: bool, roles: Sequence[Role]) -> Survey:
        """What the host is, and what would be done to it for each role; changes nothing there."""

    def roll_back(
        self, host: HostView, role: str, bad: str, report: Report, cancelled: threading.Event
    ) -> tuple[str, ...]:
        """Have a role run from the release before `bad` again; what its process wrote last."""

    def playbook(
        self, host: HostView, run: PlaybookRun, report: Report, cancelled: threading.Event
    ) -> None:
        """Run one playbook on the host."""

    def tunnel(self, host: HostView, access: ClusterAccess) -> TunnelLike:
        """A forwarded port to the cluster's bus, not started yet."""


class SshInstaller:
    """The real one. A password for sudo that was given for a host goes with the connection, and
    so do the passphrases of keys."""

    def __init__(
        self, passwords: Passwords | None = None, passphrases: Passwords | None = None
    ) -> None:
        self._passwords = passwords or Passwords()
        self._passphrases = passphrases or Passwords()

    @contextmanager
    def target(self, host: HostView, accept_new: bool) -> Iterator[Target]:
        """How the host is reached; a password that turns out to be wrong is forgotten."""
        password = self._passwords.of(host.name)
        reached = Target.of(host, accept_new, self._passphrases.of)
        try:
            yield replace(reached, sudo_password=password)
        except WrongPassword:
            # Not tried again: an account is locked after a few.
            self._passwords.forget(host.name)
            raise

    def cluster(
        self,
        host: HostView,
        accept_new: bool,
        inputs: ClusterInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> ClusterAccess:
        """See `Installer`."""
        with self.target(host, accept_new) as reached:
            return bootstrap.bootstrap_cluster(reached, inputs, report, cancelled)

    def worker(
        self,
        host: HostView,
        accept_new: bool,
        inputs: WorkerInputs,
        report: Report,
        cancelled: threading.Event,
    ) -> None:
        """See `Installer`."""
        with self.target(host, accept_new) as reached:
            bootstrap.bootstrap_worker(reached, inputs, report, cancelled)

    def facts(self, host: HostView, accept_new: bool) -> HostFacts:
        """See `Installer`."""
        with self.target(host, accept_new) as reached:
            return bootstrap.look(reached)

    async def reach(
        self,
        hosts: Sequence[HostView],
        orchestrator: HostView,
        accept_new: bool,
        facts: HostFacts,
    ) -> list[HostFinding]:
        """See `Installer`."""
        hub = self._plain(orchestrator, accept_new)
        # The one that its workers are given first; the others may be a way out.
        own = facts.environment.get("OAKCTL_HOST_ADDRESS", "")
        return await check_reachability(
            [self._plain(host, accept_new) for host in hosts],
            hub,
            (own or hub.address, *facts.addresses),
            listen_on=own,
            facts=facts,
        )

    def remove(self, host: HostView, role: str, report: Report, cancelled: threading.Event) -> None:
        """See `Installer`."""
        with self.target(host, accept_new=False) as reached:
            bootstrap.remove(reached, role, report, cancelled)

    def forget_key(self, host: HostView) -> None:
        """See `Installer`."""
        hostkeys.forget(*route.resolve(Target.of(host)).key_place)

    def survey(self, host: HostView, accept_new: bool, roles: Sequence[Role]) -> Survey:
        """See `Installer`."""
        with self.target(host, accept_new) as reached:
            return bootstrap.survey(
                reached, [Look(partial(_plan, role), _allows(role)) for role in roles]
            )

    def roll_back(
        self, host: HostView, role: str, bad: str, report: Report, cancelled: threading.Event
    ) -> tuple[str, ...]:
        """See `Installer`."""
        with self.target(host, accept_new=False) as reached:
            return bootstrap.roll_back(reached, role, bad, report, cancelled)

    def playbook(
        self, host: HostView, run: PlaybookRun, report: Report, cancelled: threading.Event
    ) -> None:
        """See `Installer`."""
        with self.target(host, run.accept_new) as reached:
            allow = run.allow_reboot
            bootstrap.run_playbook(
                reached, run.name, run.settings, report, cancelled, allow_reboot=allow
            )

    def _plain(self, host: HostView, accept_new: bool) -> Target:
        """How the host is reached where nothing is done as the superuser."""
        return Target.of(host, accept_new, self._passphrases.of)

    def tunnel(self, host: HostView, access: ClusterAccess) -> TunnelLike:
        """See `Installer`."""
        kept = self._passphrases.kept()
        kind = Gate if access.account else Tunnel
        return kind(Target.of(host, passphrases=kept), access.tunnel_host, access.tunnel_port)


def _allows(role: Role) -> bool:
    return not isinstance(role, ClusterInputs) and role.allow_reboot


def _plan(role: Role, remote: Remote) -> list[Step]:
    if isinstance(role, ClusterInputs):
        return bootstrap.cluster_plan(role)
    if isinstance(role, WorkerInputs):
        return bootstrap.worker_plan(role, remote)
    return bootstrap.playbook_plan(role.name, role.settings)
