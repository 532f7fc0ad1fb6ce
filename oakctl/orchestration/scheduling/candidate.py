"""What a cluster's scheduler knows of one worker, and of what surrounds it.

Belongs here: the input of filters and policies. Does not belong here: how it was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from oakctl.model.node import NodeFacts, Usage
from oakctl.model.resources import Location, Resources

READY = "ready"


@dataclass(frozen=True)
class Candidate:
    """One worker, as its cluster knows it now."""

    name: str
    facts: NodeFacts
    usage: Usage = Usage()
    reserved: Resources = Resources()
    status: str = READY  # ready, suspect, dead, never-seen
    cordoned: bool = False
    instances_of_service: int = 0  # of the service to be placed
    instances_total: int = 0
    host_ports: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Ports of the host that are published already: (protocol, port) → job name."""

    @property
    def usable(self) -> bool:
        """Whether it takes new instances at all."""
        return self.status == READY and not self.cordoned

    @property
    def free(self) -> Resources:
        """What is neither reserved nor, for storage, used by others; may be negative."""
        left = self.facts.capacity - self.reserved
        if self.usage.disk_free_mb:  # zero: not reported yet
            left = replace(left, storage_mb=min(left.storage_mb, self.usage.disk_free_mb))
        return left


@dataclass(frozen=True)
class Surroundings:
    """What a filter may look at besides the candidate itself."""

    cluster: str = ""  # the cluster that decides; empty: constraints on clusters are not checked
    peers: Mapping[str, tuple[Location, ...]] = field(default_factory=dict)
    """Where the instances of other services are: job name → locations that are known."""
    unfit: frozenset[str] = frozenset()  # platforms for which the service has no image
