"""Whether anything of a lab is left: processes that carry its id, sockets on its addresses.

Belongs here: looking, at what the kernel says. Does not belong here: ending it (`loopback`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from oakctl.lab import processes

LISTEN = "0A"


def remains(lab: str, addresses: Iterable[str]) -> list[str]:
    """What is left of the lab with this id whose hosts had `addresses`, in words; empty: nothing.

    Other labs have other addresses, so any socket that listens there is this lab's.
    """
    numbers = {int(address.split(".")[1]) for address in addresses}
    # The number after a host's belongs to the instances on it.
    numbers |= {number + 1 for number in numbers}
    left = [f"process {one.pid}: {' '.join(one.command)}" for one in processes.of_lab(lab)]
    for protocol in ("tcp", "udp"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = _address(local)
            first, second, *_ = address
            if first == 127 and second in numbers and (protocol == "udp" or state == LISTEN):
                left.append(f"{protocol} socket on {'.'.join(map(str, address))}:{port}")
    return left


def _address(text: str) -> tuple[tuple[int, ...], int]:
    """`0100027F:08AE` is 127.2.0.1, port 2222: the kernel writes the number as it lies."""
    address, port = text.split(":")
    return tuple(reversed(bytes.fromhex(address))), int(port, 16)
