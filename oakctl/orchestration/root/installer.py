"""The seam to the machines: everything the root has done by SSH goes through here.

Belongs here: from a host's view to an SSH target, and the calls of `oakctl.remote`. Does not
belong here: when they are made (`root.bootstrap`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from oakctl.model.views import HostView, StepEvent
from oakctl.orchestration.root.links import TunnelLike
from oakctl.orchestration.root.passwords import Passwords
from oakctl.remote import bootstrap, hostkeys, route
from oakctl.remote.bootstrap import ClusterAccess, ClusterInputs, WorkerInputs
from oakctl.remote.facts import HostFacts
from oakctl.remote.privilege import WrongPassword
from oakctl.remote.target import Target
from oakctl.remote.tunnel import Tunnel

Report = Callable[[StepEvent], None]


class Installer(Protocol):
    """What a root needs of the machines. All but `tunnel` block, and are called in threads."""

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

    def remove(self, host: HostView, role: str, report: Report, cancelled: threading.Event) -> None:
        """Take everything of a role ("worker", "cluster") from the host."""

    def forget_key(self, host: HostView) -> None:
        """Take the host's key out of oakctl's own store."""

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

    def remove(self, host: HostView, role: str, report: Report, cancelled: threading.Event) -> None:
        """See `Installer`."""
        with self.target(host, accept_new=False) as reached:
            bootstrap.remove(reached, role, report, cancelled)

    def forget_key(self, host: HostView) -> None:
        """See `Installer`."""
        hostkeys.forget(*route.resolve(Target.of(host)).key_place)

    def tunnel(self, host: HostView, access: ClusterAccess) -> TunnelLike:
        """See `Installer`."""
        kept = self._passphrases.kept()
        return Tunnel(Target.of(host, passphrases=kept), access.tunnel_host, access.tunnel_port)
