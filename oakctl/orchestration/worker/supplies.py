"""Everything that instances need on the node before they start, from wherever it comes.

Belongs here: asking the right store. Does not belong here: stores (`artifacts`, `docker.images`).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import needs
from oakctl.orchestration.worker.artifacts import Artifacts, Status
from oakctl.orchestration.worker.needs import ARTIFACT, IMAGE, Need


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
    """Artifacts and images of one node."""

    def __init__(self, artifacts: Artifacts, images: ImageStore) -> None:
        self._artifacts = artifacts
        self.images = images

    @property
    def present(self) -> Set[Need]:
        """What is there."""
        return {Need(ARTIFACT, sha256) for sha256 in self._artifacts.present} | self.images.present

    def fetch(self, need: Need) -> None:
        """See to it that it comes."""
        if need.kind == IMAGE:
            self.images.fetch(need)
        else:
            self._artifacts.fetch(need.name)

    def status(self, desired: DesiredInstance) -> Status:
        """How far the instance's needs are, all together."""
        found = [self._status(need) for need in needs.of(desired)]
        problems = [status.problem for status in found if status.problem]
        signs = sum(status.signs for status in found)
        return Status(sum(s.progress for s in found) / len(found), "; ".join(problems), signs)

    def keep_only(self, wanted: Set[Need], now: float) -> None:
        """Let go of what nobody wants."""
        self._artifacts.keep_only({n.name for n in wanted if n.kind == ARTIFACT}, now)
        self.images.keep_only({need for need in wanted if need.kind == IMAGE}, now)

    def _status(self, need: Need) -> Status:
        return self.images.status(need) if need.kind == IMAGE else self._artifacts.status(need.name)
