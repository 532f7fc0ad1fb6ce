"""What one node's overlay shall be, given the tables it was sent. Pure.

Belongs here: joining tables of several clusters, the order of targets, who takes new flows, and
the rule by which overlay addresses become loopback ones. Drivers make it so. Does not belong
here: leases (`addressing`), sockets or kernel rules.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from oakctl.model.documents import ServiceTable, TableTarget
from oakctl.model.overlay import OverlayNode
from oakctl.model.resources import Location
from oakctl.model.service import BY_CLIENT, Port
from oakctl.overlay.networks import NODE_NETWORK, SERVICE_NETWORK

BALANCED = "rr"
CLOSEST = "closest"
LEAST = "least"
LOCAL = "local"  # a port of the node itself, for instances on it
UNKNOWN_KM = 100.0  # how far a node of the own cluster is taken to be when nobody knows

_NODES = ipaddress.IPv4Network(NODE_NETWORK)
_SERVICES = ipaddress.IPv4Network(SERVICE_NETWORK)


@dataclass(frozen=True)
class Target:
    """One instance behind a listener."""

    instance: str
    address: str  # overlay address
    port: int
    takes_new: bool  # False: only what flows already there
    number: int | None = None  # loopback number of its node; None: not on the loopback overlay
    weight: int = 1  # share of new flows, where they take turns


@dataclass(frozen=True)
class Listener:
    """An address and port of a service, and the instances it leads to, in order.

    `closest` uses the first that takes new flows, the others take turns. `address` is an
    overlay address; empty for `local`: the node's own.
    """

    service: str
    address: str
    port: int
    protocol: str  # tcp, udp
    policy: str  # rr, closest, least, local
    targets: tuple[Target, ...] = ()
    by_client: bool = False  # one client's flows go to one instance


@dataclass(frozen=True)
class NodeOverlay:
    """All that one node's overlay shall do."""

    worker: str
    number: int | None  # its loopback number
    listeners: tuple[Listener, ...] = ()
    tables: tuple[ServiceTable, ...] = ()  # one for each service, by name: all clusters joined
    nodes: tuple[OverlayNode, ...] = ()


def desired_overlay(
    worker: str,
    number: int | None,
    tables: tuple[ServiceTable, ...],
    *,
    cluster: str = "",
    location: Location | None = None,
    nodes: tuple[OverlayNode, ...] = (),
) -> NodeOverlay:
    """The overlay of `worker`: a listener for each address and port of each service.

    Tables of one service from several clusters are joined; of one cluster's the highest
    generation counts. `cluster` and `location` are the worker's own and make the order of
    `closest`: same node, then by kilometres, where those are not known own cluster before
    others. No two listeners have the same address, port and protocol: of two services that
    claim one, the first by name has it.
    """
    listeners: dict[tuple[str, int, str], Listener] = {}
    joined = _joined(tables)
    for table in joined:
        for listener in _listeners(table, worker, cluster, location):
            key = (listener.address, listener.port, listener.protocol)
            listeners.setdefault(key, listener)
    in_order = tuple(listeners[key] for key in sorted(listeners))
    return NodeOverlay(worker, number, in_order, tuple(joined), nodes)


def local_address(number: int, overlay_ip: str) -> str:
    """Where `overlay_ip` is on the host with loopback number `number`.

    Service address 10.30.A.B is 127.N.A.B, instance address 10.18.A.B is 127.N+1.A.B. Raises
    ValueError for any other address.
    """
    address = ipaddress.IPv4Address(overlay_ip)
    if address in _SERVICES:
        second = number
    elif address in _NODES:
        second = number + 1
    else:
        raise ValueError(f"{overlay_ip} is neither in {SERVICE_NETWORK} nor in {NODE_NETWORK}")
    _, _, third, fourth = address.packed
    return f"127.{second}.{third}.{fourth}"


def host_address(number: int) -> str:
    """The own address of the host with loopback number `number`."""
    return f"127.{number}.0.1"


def _joined(tables: Iterable[ServiceTable]) -> list[ServiceTable]:
    newest: dict[tuple[str, str], ServiceTable] = {}
    for table in tables:
        key = (table.job_name, table.cluster)
        if key not in newest or table.generation > newest[key].generation:
            newest[key] = table
    by_job: dict[str, list[ServiceTable]] = {}
    for key in sorted(newest):
        by_job.setdefault(key[0], []).append(newest[key])
    return [_join(by_job[job]) for job in sorted(by_job)]


def _join(parts: Sequence[ServiceTable]) -> ServiceTable:
    first = parts[0]
    if len(parts) == 1:
        return first
    ports = tuple(dict.fromkeys(port for part in parts for port in part.ports))
    targets = tuple(target for part in parts for target in part.targets)
    given = next((p.addresses for p in parts if p.addresses.given), None)
    affinity = next((p.affinity for p in parts if p.affinity), "")
    expected = sum(part.expected for part in parts)
    return replace(
        first,
        addresses=given or first.addresses,
        ports=ports,
        targets=targets,
        expected=expected,
        affinity=affinity,
    )


def _listeners(
    table: ServiceTable, worker: str, cluster: str, location: Location | None
) -> Iterable[Listener]:
    in_turn = sorted(table.targets, key=lambda t: (t.cluster, t.number))
    nearest = sorted(in_turn, key=lambda t: _distance(t, worker, cluster, location))
    here = [t for t in in_turn if _is_here(t, worker, cluster)]
    job = table.job_name
    for port in table.ports:
        for address, policy, order in (
            (table.addresses.rr_ip, BALANCED, in_turn),
            (table.addresses.closest_ip, CLOSEST, nearest),
            (table.addresses.least_ip, LEAST, in_turn),
        ):
            if address:
                targets = _targets(job, port, order, policy)
                by_client = policy != CLOSEST and table.affinity == BY_CLIENT
                where = (address, port.container, port.protocol)
                yield Listener(job, *where, policy, targets, by_client)
        if port.host and here:
            targets = _targets(job, port, here, LOCAL)
            yield Listener(job, "", port.host, port.protocol, LOCAL, targets)


def _targets(job: str, port: Port, order: Sequence[TableTarget], policy: str) -> tuple[Target, ...]:
    return tuple(
        Target(
            f"{job}.instance.{t.number}",
            t.address,
            port.container,
            t.ready and not t.draining,
            t.loopback_number,
            {BALANCED: t.weight, LEAST: t.spare}.get(policy, 1),
        )
        for t in order
    )


def _is_here(target: TableTarget, worker: str, cluster: str) -> bool:
    return target.worker == worker and cluster in ("", target.cluster)


def _distance(
    target: TableTarget, worker: str, cluster: str, location: Location | None
) -> tuple[bool, float, bool]:
    """Sorts near before far."""
    foreign = cluster not in ("", target.cluster)
    if location is not None and target.location is not None:
        away = round(location.distance_km(target.location), 3)
    else:
        away = float("inf") if foreign else UNKNOWN_KM
    return (not _is_here(target, worker, cluster), away, foreign)
