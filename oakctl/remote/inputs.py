"""What makes a host an orchestrator or a worker: what the playbooks of these roles are given.

Belongs here: the shapes alone, which the program that joins by a token has too. Does not belong
here: which playbooks make a role (`bootstrap`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oakctl.model.overlay import TUNNEL_PORT
from oakctl.model.resources import Location, Resources
from oakctl.remote.step import Remote


@dataclass(frozen=True)
class ClusterInputs:
    """What makes a host the orchestrator of a cluster. `root_secret` is never shown."""

    cluster: str
    policy: str
    location: Location | None
    node_subnets: str
    root_secret: str = field(repr=False)


@dataclass(frozen=True)
class WorkerInputs:
    """What makes a host a worker. Zero fields of `contribution`: what the host declares or has."""

    worker: str
    cluster: str
    secret: str = field(repr=False)
    bus_address: str
    bus_port: int
    ca_pem: str
    contribution: Resources = Resources()
    declared: tuple[str, ...] = ()
    location: Location | None = None
    labels: dict[str, str] = field(default_factory=dict)
    docker: bool = False  # the host shall have it
    overlay: str = ""  # "kernel" or "host"; empty: what it can
    tunnel_port: int = TUNNEL_PORT
    tunnel_endpoint: str = ""  # where others may send to, by the operator's word
    relay: bool = False
    allow_reboot: bool = False


def bus_address(remote: Remote) -> str:
    """The one address a lab's host may listen on; empty: all of them."""
    return remote.facts.environment.get("OAKCTL_HOST_ADDRESS", "")
