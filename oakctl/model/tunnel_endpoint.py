"""Where a node's tunnel is sent to, as an operator writes it: "203.0.113.5:51820", ":51821".

Belongs here: reading that. Does not belong here: which node has which (`overlay`).
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address

from oakctl.model.overlay import TUNNEL_PORT

FORM = "is not ADDRESS, ADDRESS:PORT or :PORT, with an IPv4 address"


def read(text: str) -> tuple[str, int]:
    """(address, port) of "ADDRESS:PORT", "ADDRESS" or ":PORT"; what is not said is empty, or the
    usual port. Raises ValueError."""
    address, colon, port = text.partition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if colon and not 0 < number < 65536:
        raise ValueError(FORM)
    if address and not is_address(address):
        raise ValueError(FORM)
    return address, number or TUNNEL_PORT


def is_address(text: str) -> bool:
    """Whether this is an IPv4 address; names are not: they may be others elsewhere."""
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
