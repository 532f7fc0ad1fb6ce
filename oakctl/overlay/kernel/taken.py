"""Addresses that there are too few of, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network

from oakctl.overlay import addressing


def words(contested: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Of service addresses that several services claim, who has each."""
    for address, (first, *others) in sorted(contested.items()):
        yield f"service address {address} is taken by {first}: {', '.join(others)} cannot have it"


def full(subnet: str, instances: int) -> Iterator[str]:
    """When a node's subnet has no room for one more."""
    leases = addressing.instance_addresses(subnet)
    room = IPv4Network(subnet).num_addresses - leases.skip_first - leases.skip_last
    if instances >= room:
        yield f"subnet {subnet} is full: {instances} instances, no room for another here"
