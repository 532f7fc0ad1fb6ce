"""Whether a fault can be made on a host, and what to do where it cannot. Pure.

Belongs here: refusals, each with its reason and another way. Does not belong here: how it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from oakctl.chaos.faults import NETWORK, Fault, Kind
from oakctl.chaos.means import Means
from oakctl.errors import Conflict, OakError, UsageError
from oakctl.model.views import HostView

SAME_DISK_MB = 1.0  # sizes of two file systems that differ by less are of one


@dataclass(frozen=True)
class Here:
    """This machine, as the operator's side of a comparison."""

    boot: str
    disk_mb: float  # MiB, of the file system with our own files


def require(fault: Fault, host: HostView, means: Means, here: Here) -> None:
    """Return when `fault` can be made there; raises OakError with why not, and what to do."""
    if not means.prefix:
        raise OakError(
            f"{host.name}: nothing of ours is there, where faults are noted",
            hint=f"oakctl host check {host.name}",
        )
    if fault.kind in NETWORK:
        _network(fault, host, means)
    elif fault.kind is Kind.FILL_DISK:
        _disk(host, means, here)
    elif fault.kind is Kind.POWER_CUT:
        _reset(fault, host, means, here)


def _network(fault: Fault, host: HostView, means: Means) -> None:
    if means.loopback:
        raise Conflict(
            f"{host.name} is a host of a loopback lab: it shares this machine's network, in which "
            f"no {fault.kind.value} can be made for it alone",
            hint=f"oakctl chaos power-cut {host.name}, or a lab whose hosts have networks: "
            "oakctl lab up --kind namespaces",
        )
    if not means.superuser:
        raise OakError(
            f"{host.name}: rules for packets need the superuser, and we live there as a user",
            hint=f"oakctl chaos power-cut {host.name}, or give that user sudo and set it up anew",
        )
    if not means.nft:
        raise OakError(
            f"{host.name}: there is no nft, by which packets are dropped",
            hint=f"oakctl host run {host.name} --sudo -- apt-get install -y nftables",
        )
    if fault.kind is not Kind.PARTITION and not means.uplinks:
        raise OakError(
            f"{host.name}: it names no interface that leads off it",
            hint=f"oakctl host run {host.name} -- ip addr",
        )
    # To a light host of a lab, SSH does not come over its network.
    named = means.plain or (means.client and means.ssh_port)
    if fault.kind is Kind.ISOLATE and not named:
        raise OakError(
            f"{host.name}: it does not say where our SSH comes from, which would be cut off too",
            hint=f"oakctl host run {host.name} -- sh -c 'echo $SSH_CONNECTION'",
        )
    if fault.kind is Kind.SLOW:
        _slow(fault, host, means)


def _slow(fault: Fault, host: HostView, means: Means) -> None:
    if not means.tc:
        raise OakError(
            f"{host.name}: there is no tc, by which traffic is slowed down",
            hint=f"oakctl host run {host.name} --sudo -- apt-get install -y iproute2",
        )
    if fault.delay_ms and not means.netem:
        raise Conflict(
            f"{host.name}: its kernel has no netem, without which nothing can be delayed",
            hint="give --bandwidth alone: packets wait then, too, as soon as there are too many",
        )


def _disk(host: HostView, means: Means, here: Here) -> None:
    shared = means.boot == here.boot and abs(means.disk_mb - here.disk_mb) < SAME_DISK_MB
    if shared or means.loopback or not means.disk_mb:
        why = "is on this machine's own disk, which would be full for all"
        raise Conflict(
            f"{host.name}: what we have there {why}",
            hint=f"mount a small file system at {means.prefix} on it first, or use a real machine",
        )


def _reset(fault: Fault, host: HostView, means: Means, here: Here) -> None:
    if means.boot == here.boot or not means.boot:
        raise Conflict(
            f"{host.name} runs by this machine's own kernel: a reset of it would end this machine",
            hint="oakctl lab up makes hosts whose power can be cut",
        )
    if means.container:
        raise Conflict(
            f"{host.name} is a container: a reset would end the machine that it is on",
            hint=f"stop it there, or: oakctl chaos isolate {host.name}",
        )
    if not means.superuser:
        raise OakError(
            f"{host.name}: a reset needs the superuser, and we live there as a user",
            hint="pull its plug",
        )
    if fault.for_s:
        raise UsageError(
            f"{host.name} is a real machine: it starts again at once, so there is no --for",
            hint=f"oakctl chaos isolate {host.name} --for DURATION",
        )
