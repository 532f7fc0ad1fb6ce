"""A service as the body of a request to create its container. Pure.

Belongs here: every field of the descriptor that reaches a container, and what none gets. Does
not belong here: sending it (`engine`), or choosing a GPU (`accelerators`).

Nothing is granted by default: all capabilities are dropped, no new privileges, no restart by
Docker (the agent restarts), a bounded log. Where the node has no overlay (driver `host`) a
container has a network of its own, and its ports are published on the node's address: `port` as
host:container, `listen` under the same number. That is the address at which instances of such a
node are reached, two containers may listen on the same port, and none sees what listens on the
host's loopback. In a loopback lab it shares the host's network: only there are its own address
and those of services.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oakctl.model import secrets
from oakctl.model.instance import DesiredInstance
from oakctl.model.service import Port, ServiceSpec, Volume
from oakctl.orchestration.worker.docker import seen
from oakctl.orchestration.worker.docker.accelerators import Assigned

BRIDGE = "bridge"
HOST = "host"
NONE = "none"  # until it gets an interface of ours
EVERYWHERE = "0.0.0.0"
MOST_PROCESSES = 512
MIB = 1024 * 1024
LOG = {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}}


@dataclass(frozen=True)
class Node:
    """What of this node goes into its containers."""

    cluster: str
    worker: str
    prefix: str
    network: str = BRIDGE
    cpus: float = 1.0

    @property
    def labels(self) -> dict[str, str]:
        """By these our containers are known, and nobody else's are touched."""
        return {seen.CLUSTER: self.cluster, seen.WORKER: self.worker, seen.PREFIX: self.prefix}


@dataclass(frozen=True)
class Surroundings:
    """What of the start itself goes into it."""

    image: str
    bind: str  # the node's address for this instance
    reach: dict[str, str] = field(default_factory=dict)  # variable → address that leads there
    folders: dict[str, str] = field(default_factory=dict)  # sha256 of added files → path here
    assigned: Assigned = Assigned()
    secrets: dict[str, str] = field(default_factory=dict)  # path inside → file in memory here
    variables: dict[str, str] = field(default_factory=dict, repr=False)  # secrets, too


def container_name(node: Node, desired: DesiredInstance, attempt: int) -> str:
    """One for each start; hosts of a lab may share an engine, so the prefix is in it."""
    mark = hashlib.sha256(node.prefix.encode()).hexdigest()[:8]
    return f"oakctl-{mark}.{desired.name}.{desired.epoch}.{attempt}"


def body(
    desired: DesiredInstance, attempt: int, node: Node, around: Surroundings
) -> dict[str, Any]:
    """The whole request."""
    service = desired.service
    ports = published(service) if node.network == BRIDGE else {}
    request: dict[str, Any] = {
        "Image": around.image,
        "Env": environment(desired, node, around),
        "Labels": {
            **node.labels,
            seen.INSTANCE: desired.name,
            seen.EPOCH: str(desired.epoch),
            seen.ATTEMPT: str(attempt),
            seen.GPUS: ",".join(around.assigned.gpus),
            seen.TPUS: ",".join(around.assigned.tpus),
        },
        "ExposedPorts": {container: {} for container in ports},
        "HostConfig": host_config(service, node, around)
        | {
            "PortBindings": {
                inside: [_binding(around.bind, port)] for inside, port in ports.items()
            }
        },
    }
    if service.cmd:
        request["Cmd"] = list(service.cmd)
    return request


def host_config(service: ServiceSpec, node: Node, around: Surroundings) -> dict[str, Any]:
    """Limits, rights, storage and devices."""
    config: dict[str, Any] = {
        "NetworkMode": node.network,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": LOG,
        "ReadonlyRootfs": service.read_only,
        "Mounts": [
            *(_mount(service, node, volume) for volume in service.volumes),
            *(
                _bind(around.folders[added.artifact], added.target, read_only=True)
                for added in service.added_files
            ),
            *(_bind(file, target, read_only=True) for target, file in around.secrets.items()),
        ],
        **_limits(service, node),
        **_rights(service),
        **around.assigned.host_config,
    }
    devices = [_device(path) for path in (*service.devices, *around.assigned.devices)]
    return config | {"Devices": devices}


def environment(desired: DesiredInstance, node: Node, around: Surroundings) -> list[str]:
    """The descriptor's variables, then ours, which it cannot override."""
    variables = {
        name: value
        for name, separator, value in (line.partition("=") for line in desired.service.environment)
        if separator and name
    }
    variables.update(around.assigned.environment)
    variables["OAKCTL_BIND"] = around.bind if node.network == HOST else EVERYWHERE
    variables["OAKCTL_INSTANCE"] = desired.name
    if around.secrets:
        variables[secrets.VARIABLE] = secrets.DIRECTORY
    variables.update(around.variables)
    variables.update(around.reach)
    return [f"{name}={value}" for name, value in variables.items()]


def reachable(desired: DesiredInstance, local_address: Callable[[str], str]) -> dict[str, str]:
    """The variables with addresses of services that lead there from this node."""
    found = ((name, local_address(address)) for name, address in desired.reach.items())
    return {name: address for name, address in found if address}


def published(service: ServiceSpec) -> dict[str, int]:
    """ "80/tcp" inside → the node's port."""
    listed = {_inside(port): port.container for port in service.listen}
    return listed | {_inside(port): port.host or port.container for port in service.ports}


def limits_in_words(service: ServiceSpec, node: Node, missing: tuple[str, ...]) -> str:
    """What Docker is told to hold the instance to; `missing` is what it cannot."""
    limits = _limits(service, node)
    words = []
    if "NanoCpus" in limits:
        words.append(f"cpu {limits['NanoCpus'] / 1e9:g}")
    if "Memory" in limits:
        words.append(f"memory {limits['Memory'] // MIB} MiB")
    words.append(f"pids {limits['PidsLimit']}")
    text = f"{' '.join(words)} (Docker)"
    return "; ".join((text, *(f"limits not enforced: {what}" for what in missing)))


def _limits(service: ServiceSpec, node: Node) -> dict[str, Any]:
    limits: dict[str, Any] = {"PidsLimit": MOST_PROCESSES}
    if service.requests.vcpus > 0:
        # Docker refuses more than there are, and less than a hundredth.
        limits["NanoCpus"] = round(min(max(service.requests.vcpus, 0.01), node.cpus) * 1e9)
    if service.requests.memory_mb > 0:
        amount = service.requests.memory_mb * MIB
        limits |= {"Memory": amount, "MemorySwap": amount}
    return limits


def _rights(service: ServiceSpec) -> dict[str, Any]:
    if service.privileged:
        return {"Privileged": True}
    return {
        "CapDrop": ["ALL"],
        "CapAdd": list(service.capabilities),
        "SecurityOpt": ["no-new-privileges"],
    }


def volume_name(application: str, name: str) -> str:
    """A named volume belongs to its application, on this node."""
    return f"oakctl.{application}.{name}"


def _mount(service: ServiceSpec, node: Node, volume: Volume) -> dict[str, Any]:
    if volume.of_host:
        return _bind(volume.source, volume.target, read_only=volume.read_only)
    return {
        "Type": "volume",
        "Source": volume_name(service.application, volume.source),
        "Target": volume.target,
        "ReadOnly": volume.read_only,
        "VolumeOptions": {"Labels": node.labels},
    }


def _bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


def _device(path: str) -> dict[str, str]:
    return {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}


def _inside(port: Port) -> str:
    return f"{port.container}/{port.protocol}"


def _binding(address: str, port: int) -> dict[str, str]:
    return {"HostIp": "" if address == EVERYWHERE else address, "HostPort": str(port)}
