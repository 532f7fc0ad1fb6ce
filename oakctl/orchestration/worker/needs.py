"""What has to be on the node before an instance can start. Pure.

Belongs here: naming it. Does not belong here: getting it (`artifacts`, `docker.images`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.model.images import PlatformImage
from oakctl.model.instance import DesiredInstance

ARTIFACT = "artifact"
IMAGE = "image"


@dataclass(frozen=True)
class Need:
    """One thing that an instance needs."""

    kind: str  # ARTIFACT or IMAGE
    name: str  # sha256, or the image's reference
    pull: str = "missing"  # of an image: never, missing, always
    whose: str = ""  # with `always`, what is pulled for one instance is not there for another
    pushed: tuple[PlatformImage, ...] = ()  # what it consists of, when it comes from the cluster

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def of(desired: DesiredInstance) -> tuple[Need, ...]:
    """All that this instance needs, in the order in which it is got."""
    service = desired.service
    artifacts = tuple(Need(ARTIFACT, sha256) for sha256 in service.artifacts)
    if service.virtualization != "container":
        return artifacts or (Need(ARTIFACT, service.code),)
    if service.images:
        return (Need(IMAGE, service.code, pushed=service.images), *artifacts)
    whose = f"{desired.name}.{desired.epoch}" if service.pull == "always" else ""
    image = Need(IMAGE, service.code, service.pull, whose)
    return (image, *artifacts)
