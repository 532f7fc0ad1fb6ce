"""What this node offers, found out once when the agent starts.

Belongs here: architecture, distribution, capacity. Does not belong here: what is used of it
(`usage`). A contribution that is given counts as it is given, whatever the machine has.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import struct
import sys
from dataclasses import fields, replace
from pathlib import Path

import oakctl
from oakctl.model.config import HostLayout, WorkerConfig
from oakctl.model.node import ContainerFacts, NodeFacts
from oakctl.model.resources import Resources
from oakctl.orchestration.worker.procfs import MIB
from oakctl.orchestration.worker.runtime import CONTAINER
from oakctl.overlay import host as overlay_host

# A 64-bit kernel often has a 32-bit userland (Raspberry Pi OS): programs must fit the latter.
_NARROW = {"aarch64": "armv7l", "x86_64": "i686"}


def gather(config: WorkerConfig, *, limits_enforced: bool, limits_reason: str) -> NodeFacts:
    """The facts of this machine under this configuration."""
    return NodeFacts(
        hostname=os.environ.get("OAKCTL_HOST") or socket.gethostname(),
        architecture=userland(platform.machine(), struct.calcsize("P") * 8),
        system=distribution(_text("/etc/os-release")),
        python=platform.python_version(),
        capacity=contributed(config.contribution, machine(Path(config.prefix))),
        runtimes=config.runtimes,
        location=config.location,
        labels=dict(config.labels),
        limits_enforced=limits_enforced,
        limits_reason=limits_reason,
        declared=config.declared,
        address=config.address,
        overlay_driver=config.overlay_driver,
        overlay_reason=_overlay_reason(config),
        tunnel_port=config.tunnel_port,
        tunnel_endpoint=config.tunnel_endpoint,
        relay=config.relay,
        loopback_number=config.loopback_number,
        agent_version=oakctl.__version__,
        release=HostLayout.version_of(os.path.realpath(sys.argv[0])),
    )


def _overlay_reason(config: WorkerConfig) -> str:
    if config.overlay_driver != "host":
        return config.overlay_reason
    return "; ".join(filter(None, (config.overlay_reason, overlay_host.REASON)))


def with_containers(known: NodeFacts, found: ContainerFacts) -> NodeFacts:
    """The facts with this word on containers."""
    others = tuple(kind for kind in known.runtimes if kind != CONTAINER)
    return replace(
        known, runtimes=(*others, CONTAINER) if found.engine else others, containers=found
    )


def with_secrets(known: NodeFacts, reason: str) -> NodeFacts:
    """The facts with this word on secrets; `reason`: why there can be none."""
    return replace(known, secrets=not reason, secrets_reason=reason)


def userland(machine_name: str, bits: int) -> str:
    """The architecture that programs here have, in the names of `uname -m`."""
    name = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine_name, machine_name)
    return _NARROW.get(name, name) if bits == 32 else name


def distribution(os_release: str) -> str:
    """PRETTY_NAME of /etc/os-release."""
    for line in os_release.splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip("\"'")
    return platform.system()


def contributed(given: Resources, machine_has: Resources) -> Resources:
    """What is given; where nothing is, what the machine has."""
    return Resources(
        *(getattr(given, field.name) or getattr(machine_has, field.name) for field in fields(given))
    )


def machine(prefix: Path) -> Resources:
    """What the machine has. Bandwidth is that of its fastest network device, where it says so."""
    kilobits = _network_kbit()
    return Resources(
        vcpus=float(len(os.sched_getaffinity(0))),
        memory_mb=memory_kib(_text("/proc/meminfo"), "MemTotal") // 1024,
        storage_mb=shutil.disk_usage(prefix).total // MIB,
        vgpus=_count("nvidia[0-9]*") or int(Path("/dev/nvhost-ctrl-gpu").exists()),
        vtpus=_count("apex_[0-9]*"),
        bandwidth_in_kbit=kilobits,
        bandwidth_out_kbit=kilobits,
    )


def memory_kib(meminfo: str, name: str) -> int:
    """One line of /proc/meminfo, KiB."""
    for line in meminfo.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def _network_kbit() -> int:
    speeds = [_text(path).strip() for path in Path("/sys/class/net").glob("*/speed")]
    return max((int(speed) * 1000 for speed in speeds if speed.isdigit()), default=0)


def _count(devices: str) -> int:
    return sum(1 for _ in Path("/dev").glob(devices))


def _text(path: str | Path) -> str:
    # Devices that are down answer with EINVAL when they are asked for their speed.
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
