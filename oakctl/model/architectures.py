"""Names of architectures: one for each, whoever says it.

Belongs here: the kernel's names, Docker's and those of packages for the same thing. Does not
belong here: which one a node has (`worker.facts`).
"""

from __future__ import annotations

from oakctl.model.node import NodeFacts
from oakctl.model.service import ServiceSpec

# What Oakestra, packages and container images call them → what the kernel does.
_NAMES = {
    "amd64": "x86_64",
    "x64": "x86_64",
    "x86-64": "x86_64",
    "arm64": "aarch64",
    "arm": "armv7l",
    "armhf": "armv7l",
    "386": "i686",
    "i386": "i686",
}


def canonical(name: str) -> str:
    """An architecture as `uname -m` calls it."""
    lowered = name.strip().lower()
    return _NAMES.get(lowered, lowered)


def of_platform(platform: str) -> str:
    """The one of a container's platform: "linux/arm64" is aarch64."""
    return canonical(platform.partition("/")[2])


def of_node(spec: ServiceSpec, facts: NodeFacts) -> str:
    """What instances of this service run on there.

    Containers need not be what the agent's own Python is: a 64-bit Docker is often beside
    32-bit programs.
    """
    if spec.virtualization == "container" and facts.containers.platform:
        return of_platform(facts.containers.platform)
    return facts.architecture
