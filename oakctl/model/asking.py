"""What a worker asks its cluster about addresses that it knows no table of.

Belongs here: the request and its answer. Does not belong here: the tables (`documents`), which come
as they always do.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_ASKED = 256  # addresses in one request


@dataclass(frozen=True)
class AddressesRequest:
    """Packets are on their way to these service addresses, or flows are open."""

    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class AddressesAnswer:
    """Those that a service has: their tables are on their way, or are there already."""

    known: tuple[str, ...] = ()
