"""A host's other networks that have addresses of the overlay's, in words. Pure.

They are looked for before an overlay is made too; but hosts get into other networks later.
Does not belong here: that look (`remote.overlay_choice`), the routes of ours (`cables`, `peers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from oakctl.overlay.kernel.ruleset import Networks

OURS = "oak"  # how the names of our interfaces begin
NODE_PREFIX = 26  # of a node's own subnet: one that leads to it by another way than the tunnel


def words(listed: str, networks: Networks) -> Iterator[str]:
    """Of the routes that `ip route` lists, those that lead elsewhere with ours."""
    for line in listed.splitlines():
        told = line.split()
        device = told[told.index("dev") + 1] if "dev" in told[:-1] else ""
        if not device or device.startswith(OURS):
            continue
        try:
            there = IPv4Network(told[0])
        except ValueError:
            continue  # "default", and what is no network
        for network in (networks.nodes, networks.services):
            ours = IPv4Network(network)
            node = there.prefixlen == NODE_PREFIX and network == networks.nodes
            if there.prefixlen and there.overlaps(ours) and not node:
                yield f"network {network} is the overlay's, and {there} leads to {device} there"
