"""GPUs and TPUs of a node, handed to one container each. Pure.

Belongs here: which ones, and how Docker is told. Does not belong here: how many there are to
give (`facts`), which the scheduler keeps to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from oakctl.orchestration.worker.launch import CannotStart

NVIDIA = "nvidia"  # device requests, by the NVIDIA container toolkit
JETSON = "jetson"  # one GPU inside the processor, by the runtime `nvidia`; shared
DEVICES = "devices"  # device nodes that the operator names


@dataclass(frozen=True)
class Accelerators:
    """What this node has. `declared`: names of resources that are not really there."""

    mode: str = ""
    gpus: tuple[str, ...] = ()  # indices, or device nodes where the mode is DEVICES
    tpus: tuple[str, ...] = ()  # device nodes
    declared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assigned:
    """What one container gets."""

    gpus: tuple[str, ...] = ()
    tpus: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    host_config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def why_not(here: Accelerators, runtimes: Sequence[str], toolkit: bool) -> str:
    """Why this Docker can hand in none of the node's GPUs; empty: it can, or there are none.

    `toolkit`: the NVIDIA container toolkit's programs are where Docker looks for them.
    """
    if here.mode == JETSON and NVIDIA not in runtimes:
        return "Docker here has no runtime nvidia: install the NVIDIA container runtime"
    if here.mode == NVIDIA and NVIDIA not in runtimes and not toolkit:
        return "Docker here can't hand in a GPU: install the NVIDIA container toolkit"
    return ""


def assign(
    vgpus: int,
    vtpus: int,
    here: Accelerators,
    taken_gpus: Iterable[str] = (),
    taken_tpus: Iterable[str] = (),
) -> Assigned:
    """Those for a container that asks for so many; raises CannotStart when they are not there."""
    tpus = _free("vtpus", vtpus, here.tpus, taken_tpus, here)
    if here.mode == JETSON and vgpus:
        return Assigned(
            tpus=tpus,
            devices=tpus,
            host_config={"Runtime": "nvidia"},
            environment={"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all"},
        )
    gpus = _free("vgpus", vgpus, here.gpus, taken_gpus, here)
    if not gpus or here.mode == DEVICES:
        return Assigned(gpus=gpus, tpus=tpus, devices=(*gpus, *tpus))
    request = {"Driver": "nvidia", "DeviceIDs": list(gpus), "Capabilities": [["gpu"]]}
    return Assigned(gpus=gpus, tpus=tpus, devices=tpus, host_config={"DeviceRequests": [request]})


def _free(
    resource: str, count: int, there: Sequence[str], taken: Iterable[str], here: Accelerators
) -> tuple[str, ...]:
    if not count or (resource in here.declared and not there):
        return ()
    held = set(taken)
    free = [name for name in there if name not in held]
    if len(free) < count:
        raise CannotStart(f"asks for {count} {resource}, {len(free)} of {len(there)} are free here")
    return tuple(free[:count])
