"""Whether anything of a lab is left: processes that carry its id, sockets on its addresses.

Belongs here: looking, at what the kernel says. Does not belong here: ending it (`loopback`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oakctl.lab import processes

LISTEN = "0A"


def remains(lab: str, addresses: Iterable[str]) -> list[str]:
    """What is left of the lab with this id whose hosts had `addresses`, in words; empty: nothing.

    An address that was let go may be another lab's a moment later, so a socket there counts only
    when no other process has it.
    """
    numbers = {int(address.split(".")[1]) for address in addresses}
    # The number after a host's belongs to the instances on it.
    numbers |= {number + 1 for number in numbers}
    left = [f"process {one.pid}: {' '.join(one.command)}" for one in processes.of_lab(lab)]
    listening = [socket for socket in _listening() if socket.network in numbers]
    others = _held_by_others(lab, {socket.inode for socket in listening})
    return left + [str(socket) for socket in listening if socket.inode not in others]


@dataclass(frozen=True)
class _Socket:
    protocol: str
    address: tuple[int, ...]
    port: int
    inode: str

    @property
    def network(self) -> int:
        """The number of the host or of its instances; 0 for what is not on 127.0.0.0/8."""
        return self.address[1] if self.address[0] == 127 else 0

    def __str__(self) -> str:
        return f"{self.protocol} socket on {'.'.join(map(str, self.address))}:{self.port}"


def _listening() -> list[_Socket]:
    found = []
    for protocol in ("tcp", "udp"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            local, state, owner, inode = fields[1], fields[3], fields[7], fields[9]
            ours = owner == str(os.getuid())  # another user's socket is not of our lab
            if ours and (protocol == "udp" or state == LISTEN):
                found.append(_Socket(protocol, *_address(local), inode))
    return found


def _held_by_others(lab: str, inodes: set[str]) -> set[str]:
    """Those of `inodes` that a process outside of this lab has open."""
    if not inodes:
        return set()
    own = {one.pid for one in processes.of_lab(lab)}
    held = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in own:
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            for descriptor in (entry / "fd").iterdir():
                name = str(descriptor.readlink())
                if name.startswith("socket:[") and name[8:-1] in inodes:
                    held.add(name[8:-1])
    return held


def _address(text: str) -> tuple[tuple[int, ...], int]:
    """`0100027F:08AE` is 127.2.0.1, port 2222: the kernel writes the number as it lies."""
    address, port = text.split(":")
    return tuple(reversed(bytes.fromhex(address))), int(port, 16)
