"""What has to be on the node before an instance can start. Pure.

Belongs here: naming it. Does not belong here: getting it (`artifacts`, `docker.images`,
`secrets`).
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.model.images import PlatformImage
from oakctl.model.instance import DesiredInstance
from oakctl.model.secrets import SecretUse

ARTIFACT = "artifact"
IMAGE = "image"
SECRETS = "secrets"


@dataclass(frozen=True)
class Need:
    """One thing that an instance needs."""

    kind: str  # ARTIFACT, IMAGE or SECRETS
    name: str  # sha256, the image's reference, or of secrets the instance
    pull: str = "missing"  # of an image: never, missing, always
    whose: str = ""  # with `always`, what is pulled for one instance is not there for another
    secrets: tuple[SecretUse, ...] = ()
    pushed: tuple[PlatformImage, ...] = ()  # what it consists of, when it comes from the cluster

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def of(desired: DesiredInstance) -> tuple[Need, ...]:
    """All that this instance needs, in the order in which it is got."""
    return (*_code(desired), *_secrets(desired))


def _secrets(desired: DesiredInstance) -> tuple[Need, ...]:
    uses = desired.service.secrets
    return (Need(SECRETS, desired.name, whose=str(desired.epoch), secrets=uses),) if uses else ()


def _code(desired: DesiredInstance) -> tuple[Need, ...]:
    service = desired.service
    artifacts = tuple(Need(ARTIFACT, sha256) for sha256 in service.artifacts)
    if service.virtualization != "container":
        return artifacts or (Need(ARTIFACT, service.code),)
    if service.images:
        return (Need(IMAGE, service.code, pushed=service.images), *artifacts)
    whose = f"{desired.name}.{desired.epoch}" if service.pull == "always" else ""
    image = Need(IMAGE, service.code, service.pull, whose)
    return (image, *artifacts)
