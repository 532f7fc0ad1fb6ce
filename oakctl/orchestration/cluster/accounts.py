"""Several roots in one cluster: whose a name is, and how a root sees the cluster. Pure.

Inside the cluster the services of a granted root have its name in their application's namespace:
`shop.prod.web.prod` of root `rob` is `shop.prod_rob.web.prod`. A descriptor's names have no "_",
so no two roots ever mean the same record, and nothing further inside has to know of roots. What a
root sends is renamed when it comes in, what it is told when it goes out, and of everything else
it is told nothing.

The owner's root is the account ""; its names are as they are. Belongs here: both directions.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

from oakctl.errors import UsageError
from oakctl.model.documents import ServiceTable
from oakctl.model.messages import (
    Aggregate,
    ClusterEvent,
    ClusterState,
    ClusterStatistics,
    InstancePlace,
    LogsRequest,
    Offer,
    Share,
)
from oakctl.model.resources import Resources
from oakctl.model.service import Port, ServiceAddresses, ServiceSpec
from oakctl.overlay.networks import SERVICE_NETWORK

_PART = re.compile(r"[a-zA-Z0-9]{1,30}")
_SEPARATOR = "_"
_SERVICES = ipaddress.ip_network(SERVICE_NETWORK)


def inside(account: str, job_name: str) -> str:
    """The name in the cluster of a service that `account` calls `job_name`; raises UsageError."""
    if not account:
        return job_name
    parts = job_name.split(".")
    if len(parts) != 4 or not all(_PART.fullmatch(part) for part in parts):
        raise UsageError(f"{job_name!r} is no job name")
    parts[1] += _SEPARATOR + account
    return ".".join(parts)


def owner_of(job_name: str) -> str:
    """The account whose service this is (a name in the cluster)."""
    parts = job_name.split(".")
    return parts[1].partition(_SEPARATOR)[2] if len(parts) > 1 else ""


def outside(job_name: str) -> str:
    """What its own root calls a service."""
    parts = job_name.split(".")
    if len(parts) > 1:
        parts[1] = parts[1].partition(_SEPARATOR)[0]
    return ".".join(parts)


# --- what comes in ---------------------------------------------------------------------------


def enter_spec(account: str, spec: ServiceSpec) -> ServiceSpec:
    """The specification under its name in the cluster; raises UsageError for what no root sends.

    Another operator's root is not believed: names become paths, and addresses rules of nodes.
    """
    if not account:
        return spec
    job_name = inside(account, spec.job_name)
    if spec.secrets or spec.codes:
        # The secrets of a cluster are its owner's; what an image may be is judged by `code`.
        raise UsageError("a granted root's services have no secrets and one code")
    _check_addresses(spec.addresses)
    for link in spec.connectivity:
        _check_addresses(link.addresses)
    for port in (*spec.ports, *spec.listen):
        _check_port(port)
    connectivity = tuple(
        replace(link, target=inside(account, link.target)) for link in spec.connectivity
    )
    application = ".".join(job_name.split(".")[:2])
    return replace(spec, job_name=job_name, application=application, connectivity=connectivity)


def enter_offer(account: str, offer: Offer) -> Offer:
    """As `enter_spec`."""
    if offer.number < 0:
        raise UsageError("an instance's number is 0 or more")
    return replace(offer, service=enter_spec(account, offer.service))


def enter_share(account: str, share: Share) -> Share:
    """As `enter_spec`."""
    if any(number < 0 for number in share.instances):
        raise UsageError("an instance's number is 0 or more")
    service = None if share.service is None else enter_spec(account, share.service)
    return replace(share, job_name=inside(account, share.job_name), service=service)


def enter_table(account: str, table: ServiceTable) -> ServiceTable:
    """As `enter_spec`, for the table of a service of the root's in another cluster."""
    if not account:
        return table
    _check_addresses(table.addresses)
    return replace(table, job_name=inside(account, table.job_name))


def enter_logs(account: str, asked: LogsRequest) -> LogsRequest:
    """As `inside`, for the instance that is asked about."""
    return replace(asked, instance=inside_instance(account, asked.instance))


def inside_instance(account: str, instance: str) -> str:
    """The name in the cluster of an instance; raises UsageError."""
    job_name, mark, number = instance.rpartition(".instance.")
    if not mark or not number.isdigit():
        raise UsageError(f"{instance!r} is no instance name")
    return f"{inside(account, job_name)}{mark}{number}"


def _check_addresses(addresses: ServiceAddresses) -> None:
    for text in addresses.given:
        try:
            given = ipaddress.ip_address(text) in _SERVICES
        except ValueError:
            given = False
        if not given:
            raise UsageError(f"{text!r} is no service address: those are in {SERVICE_NETWORK}")


def _check_port(port: Port) -> None:
    if not (0 < port.container < 65536 and 0 <= port.host < 65536):
        raise UsageError(f"{port.container} is no port")
    if port.protocol not in ("tcp", "udp"):
        raise UsageError(f"{port.protocol!r} is no protocol of a port")


# --- what goes out ---------------------------------------------------------------------------


def view(state: ClusterState, account: str, left: Resources) -> ClusterState:
    """The cluster as `account` is told of it: its own, and sums. `left` is what it may still use.

    The owner is told of workers and machines; of other roots' services neither is told.
    """

    def own(job_name: str) -> bool:
        return owner_of(job_name) == account

    seen = replace(
        state,
        instances=tuple(
            _outside_place(place) for place in state.instances if own(place.observed.job_name)
        ),
        shares={outside(name): n for name, n in state.shares.items() if own(name)},
        tables=tuple(
            replace(table, job_name=outside(table.job_name))
            for table in state.tables
            if own(table.job_name)
        ),
        wishes=tuple(
            replace(wish, job_name=outside(wish.job_name))
            for wish in state.wishes
            if own(wish.job_name)
        ),
    )
    if not account:
        return seen
    return replace(
        seen,
        workers=(),
        processes={},
        roots=(),
        tokens=(),
        peers=None,
        secrets={},
        aggregate=_bounded(state.aggregate, left),
    )


def _outside_place(place: InstancePlace) -> InstancePlace:
    observed = place.observed
    return replace(place, observed=replace(observed, job_name=outside(observed.job_name)))


def _bounded(aggregate: Aggregate, left: Resources) -> Aggregate:
    """What is free, as far as the root may still use it."""
    free = aggregate.free
    return replace(
        aggregate,
        free=replace(
            free,
            vcpus=max(0.0, min(free.vcpus, left.vcpus)),
            memory_mb=max(0, min(free.memory_mb, left.memory_mb)),
        ),
    )


def view_statistics(told: ClusterStatistics, account: str) -> ClusterStatistics:
    """What the account's own instances used."""
    return replace(
        told,
        instances=tuple(
            replace(one, job_name=outside(one.job_name))
            for one in told.instances
            if owner_of(one.job_name) == account
        ),
    )


def view_event(event: ClusterEvent, account: str) -> ClusterEvent | None:
    """The event as the account is told of it; None: it is not for it."""
    job_name, mark, number = event.subject.rpartition(".instance.")
    if not mark or owner_of(job_name) != account:
        return None
    return replace(event, subject=f"{outside(job_name)}{mark}{number}")
