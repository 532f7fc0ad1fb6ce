"""The address plan: blocks, subnets and leases. Pure.

10.18.0.0/16 is for instances: a /20 for each cluster (so that it can go on with the root away),
a /26 of it for each worker, one address for each instance. 10.30.0.0/16 is for services. What is
given back rests before it is given again: a late packet must not reach a stranger. Does not
belong here: what the addresses lead to (`plan`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from oakctl.errors import Conflict, UsageError
from oakctl.overlay.networks import NODE_NETWORK, SERVICE_NETWORK

CLUSTER_PREFIX = 20
WORKER_PREFIX = 26
QUARANTINE_S = 60.0  # longer than any flow or cached answer that may still use the address
LONGEST_REST_S = 2 * QUARANTINE_S
CLUSTERS = 2 ** (CLUSTER_PREFIX - 16)


@dataclass(frozen=True)
class Leases:
    """Addresses, or subnets, of one network: who has which, and which rest.

    A lease is written "10.18.0.66", or "10.18.0.64/26" where `prefix` is not 32. The first
    `skip_first` and last `skip_last` of the network are never given.
    """

    network: str
    prefix: int = 32
    skip_first: int = 0
    skip_last: int = 0
    held: dict[str, str] = field(default_factory=dict)  # holder → lease
    resting: dict[str, float] = field(default_factory=dict)  # lease → when it may be given again


def cluster_block(index: int) -> str:
    """The node network of cluster number `index`: "10.18.16.0/20" for 1; raises UsageError."""
    if not 0 <= index < CLUSTERS:
        raise UsageError(f"there is room for {CLUSTERS} clusters, and {index} is not among them")
    return _nth(NODE_NETWORK, CLUSTER_PREFIX, index)


def worker_subnets(block: str) -> Leases:
    """The subnets that a cluster with this block gives to its workers."""
    return Leases(block, WORKER_PREFIX)


def instance_addresses(subnet: str) -> Leases:
    """The addresses that a worker's instances get: all but network, gateway and broadcast."""
    return Leases(subnet, skip_first=2, skip_last=1)


def service_addresses(offset: int = 0) -> Leases:
    """The addresses that services get, those from `offset` on.

    10.30.0.x is left out: on the loopback overlay these are the hosts' own addresses.
    """
    return Leases(SERVICE_NETWORK, skip_first=256 + offset, skip_last=1)


def gateway(subnet: str) -> str:
    """A worker's own address in its subnet: the first."""
    return str(ipaddress.IPv4Network(subnet)[1])


def relayed(subnet: str) -> str:
    """An address of a worker that a relay leads to in any case: the subnet's very first."""
    return str(ipaddress.IPv4Network(subnet)[0])


def direct(subnet: str) -> str:
    """An address of a worker that only a direct way leads to, once one is tried: the last."""
    return str(ipaddress.IPv4Network(subnet)[-1])


def own(subnet: str) -> tuple[str, ...]:
    """All of a worker's own addresses; no instance has one of them."""
    return gateway(subnet), relayed(subnet), direct(subnet)


@lru_cache(1 << 15)
def gateway_of(instance: str) -> str:
    """The own address of the worker that an instance's address belongs to."""
    return gateway(str(ipaddress.IPv4Network((instance, WORKER_PREFIX), strict=False)))


def lease(leases: Leases, holder: str, now: float) -> tuple[Leases, str]:
    """An address for `holder`: the one it has, or the lowest that is free and does not rest.

    `now` is in seconds. Raises Conflict when there is none.
    """
    if holder in leases.held:
        return leases, leases.held[holder]
    taken = set(leases.held.values())
    resting = _resting(leases.resting, now)
    for offered in _all(leases):
        if offered not in taken and offered not in resting:
            held = {**leases.held, holder: offered}
            return replace(leases, held=held, resting=resting), offered
    raise Conflict(
        f"no address is left in {leases.network}: {len(taken)} are in use, {len(resting)} rest",
        hint=f"try again in {QUARANTINE_S:.0f} seconds, or remove something that runs there",
    )


def pin(leases: Leases, holder: str, address: str) -> Leases:
    """Give `holder` exactly `address`, resting or not.

    Raises UsageError when it lies outside the network, Conflict when another has it or the
    holder has a different one.
    """
    if ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(leases.network):
        raise UsageError(f"{address} is outside {leases.network}")
    owner = next((who for who, what in leases.held.items() if what == address), holder)
    if owner != holder:
        raise Conflict(f"{address} belongs to {owner}", hint="choose another address")
    if leases.held.get(holder, address) != address:
        raise Conflict(f"{holder} already has {leases.held[holder]}")
    resting = {what: until for what, until in leases.resting.items() if what != address}
    return replace(leases, held={**leases.held, holder: address}, resting=resting)


def release(leases: Leases, holder: str, now: float, quarantine_s: float = QUARANTINE_S) -> Leases:
    """Take back what `holder` has; it rests for `quarantine_s` seconds. Unknown: no change."""
    if holder not in leases.held:
        return leases
    held = {who: what for who, what in leases.held.items() if who != holder}
    resting = _resting(leases.resting, now)
    resting[leases.held[holder]] = now + quarantine_s
    return replace(leases, held=held, resting=resting)


def _resting(resting: Mapping[str, float], now: float) -> dict[str, float]:
    # A clock that was set back must not hold addresses for as long as it was ahead.
    return {
        address: until for address, until in resting.items() if now < until <= now + LONGEST_REST_S
    }


def _all(leases: Leases) -> Iterator[str]:
    network = ipaddress.IPv4Network(leases.network)
    step = 2 ** (32 - leases.prefix)
    suffix = "" if leases.prefix == 32 else f"/{leases.prefix}"
    for index in range(leases.skip_first, network.num_addresses // step - leases.skip_last):
        yield f"{network[index * step]}{suffix}"


def _nth(network: str, prefix: int, index: int) -> str:
    base = ipaddress.IPv4Network(network)
    return f"{base[index * 2 ** (32 - prefix)]}/{prefix}"
