"""Everything that instances need on the node before they start, from wherever it comes.

Belongs here: asking the right store. Does not belong here: stores (`artifacts`, `docker.images`,
`secrets`).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import needs
from oakctl.orchestration.worker.artifacts import Artifacts, Status
from oakctl.orchestration.worker.needs import ARTIFACT, IMAGE, SECRETS, Need
from oakctl.orchestration.worker.secrets import Secrets


class ImageStore(Protocol):
    """Images on this node."""

    @property
    def present(self) -> Set[Need]:
        """What is there."""

    def fetch(self, need: Need) -> None:
        """See to it that it comes; does nothing when that is under way."""

    def status(self, need: Need) -> Status:
        """How far it is."""

    def keep_only(self, wanted: Set[Need], now: float) -> None:
        """Stop fetching what nobody wants; remove what nobody has wanted for long."""


class NoImages:
    """Stands in where there are no containers; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.present: Set[Need] = frozenset()

    def fetch(self, need: Need) -> None:
        """Nothing comes."""

    def status(self, need: Need) -> Status:
        """Why."""
        return Status(0.0, self.reason)

    def keep_only(self, wanted: Set[Need], now: float) -> None:
        """Nothing is there."""


class Supplies:
    """Artifacts, images and secrets of one node."""

    def __init__(self, artifacts: Artifacts, images: ImageStore, secrets: Secrets) -> None:
        self._artifacts = artifacts
        self._secrets = secrets
        self.images = images

    @property
    def present(self) -> Set[Need]:
        """What is there."""
        artifacts = {Need(ARTIFACT, sha256) for sha256 in self._artifacts.present}
        return artifacts | self.images.present | self._secrets.present

    def fetch(self, need: Need) -> None:
        """See to it that it comes."""
        if need.kind == IMAGE:
            self.images.fetch(need)
        elif need.kind == SECRETS:
            self._secrets.fetch(need)
        else:
            self._artifacts.fetch(need.name)

    def status(self, desired: DesiredInstance) -> Status:
        """How far the instance's needs are, all together."""
        found = [self._status(need) for need in needs.of(desired)]
        problems = [status.problem for status in found if status.problem]
        signs = sum(status.signs for status in found)
        unfit = next((status.unfit for status in found if status.unfit), "")
        share = sum(status.progress for status in found) / len(found)
        return Status(share, "; ".join(problems), signs, unfit)

    def keep_only(self, wanted: Set[Need], now: float) -> None:
        """Let go of what nobody wants."""
        self._artifacts.keep_only({n.name for n in wanted if n.kind == ARTIFACT}, now)
        self.images.keep_only({need for need in wanted if need.kind == IMAGE}, now)
        self._secrets.keep_only({need for need in wanted if need.kind == SECRETS})

    def spent(self, name: str) -> None:
        """A start of this instance was made: what each start gets anew is used up."""
        self._secrets.spent(name)

    def sweep(self, alive: Set[str]) -> None:
        """Take away what is kept for instances that will not be started any more."""
        self._secrets.sweep(alive)

    def _status(self, need: Need) -> Status:
        if need.kind == SECRETS:
            return self._secrets.status(need)
        return self.images.status(need) if need.kind == IMAGE else self._artifacts.status(need.name)
