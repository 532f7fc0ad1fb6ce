"""A cable in user space, for kernels without netem: two ends, a delay and a loss between them.

    python -S wire.py INTERFACE TAP

It carries frames between an interface that is there and a TAP that it makes, whole as the kernel
has them: with the header that says what is left to be done for checksums and segments. Each line of
its input, "DELAY_MS LOSS", is what holds from then on. A program of its own, by the standard
library alone. Does not belong here: what the two ends are connected to (`line`).
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque

ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING, PACKET_VNET_HDR = 263, 23, 15
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
CHECKSUM_AND_SEGMENTS = 0x01 | 0x02 | 0x04  # TUN_F_CSUM, TSO4, TSO6
HEADER = 10  # bytes of struct virtio_net_hdr
LARGEST = 1 << 17
MOST_WAITING = 20000  # frames in one direction: what is more is lost, as in any router
BUFFER = 8 << 20


class Direction:
    """What is on its way from one end to the other, the earliest first."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self._target = source, target
        self._waiting: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float | None:
        """When the next frame arrives; None: there is none."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, delay_s: float, loss: float) -> None:
        """Take in all that has come by now."""
        while True:
            try:
                frame = os.read(self.source, LARGEST)
            except OSError:  # nothing more, or the interface is down
                return
            if len(self._waiting) < MOST_WAITING and random.random() >= loss:
                at = time.monotonic() + delay_s
                # In order, also when the delay has just become shorter.
                self._waiting.append((max(at, self._last()), frame))

    def deliver(self) -> None:
        """Hand over all that is due."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            frame = self._waiting.popleft()[1]
            try:
                os.write(self._target, frame)
            except OSError:  # the other end is down or full: the frame is lost
                continue

    def _last(self) -> float:
        return self._waiting[-1][0] if self._waiting else 0.0


def cable(name: str) -> socket.socket:
    """Everything that comes in by an interface, and out by it."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    opened.bind((name, ETH_P_ALL))
    opened.setblocking(False)
    return opened


def tap(name: str) -> int:
    """A new interface of which we are the far end."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, TUNSETVNETHDRSZ, struct.pack("i", HEADER))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, CHECKSUM_AND_SEGMENTS)
    return descriptor


def carry(ends: tuple[int, int], orders: int) -> None:
    """Go on until there are no more orders."""
    delay_s, loss = 0.0, 0.0
    directions = (Direction(*ends), Direction(*reversed(ends)))
    while True:
        due = [each.due for each in directions if each.due is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select((*ends, orders), (), (), wait)
        if orders in ready:
            text = os.read(orders, 4096)
            if not text:
                return
            delay_ms, loss = map(float, text.split(b"\n")[-2].split())
            delay_s = delay_ms / 1e3
        for each in directions:
            if each.source in ready:
                each.take(delay_s, loss)
            each.deliver()


def main() -> None:
    """See above."""
    interface, name = sys.argv[1:]
    with cable(interface) as opened:
        carrier = tap(name)
        os.write(1, b"ready\n")
        carry((opened.fileno(), carrier), 0)


if __name__ == "__main__":
    main()
