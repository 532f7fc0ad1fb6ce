"""Loopback addresses for hosts: which numbers N (127.N.0.1) are free, and holding them.

Belongs here: finding out by binding, which asks the one who knows. Does not belong here: the
addresses of services and instances on a host (`overlay`).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Container, Sequence

from oakctl.errors import Conflict
from oakctl.lab.description import SSH_PORT
from oakctl.model.config import BUS_PORT

# Even: the odd number after each is for the addresses of the host's instances.
NUMBERS = range(2, 253, 2)

DYING_S = 2.0  # a killed keeper holds its addresses a little longer than it is to be seen


def hold(number: int, ports: Sequence[int] = (SSH_PORT, BUS_PORT)) -> socket.socket:
    """Hold 127.N.0.1 for a host, on or off; raises OSError when somebody else has it.

    A UDP socket on the SSH port: nobody wants that one, and every lab, of any user, asks for it
    first. It is inherited by the keeper and lives as long. `ports` have to be free as well.
    """
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((f"127.{number}.0.1", port))
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind((f"127.{number}.0.1", SSH_PORT))
    except OSError:
        holder.close()
        raise
    return holder


def hold_free(count: int, taken: Container[int]) -> list[tuple[int, socket.socket]]:
    """Hold `count` numbers that nobody has and that are not in `taken`; raises Conflict."""
    held: list[tuple[int, socket.socket]] = []
    for number in NUMBERS:
        if len(held) == count:
            break
        if number in taken:
            continue
        try:
            held.append((number, hold(number)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                release([holder for _, holder in held])
                raise
    if len(held) < count:
        release([holder for _, holder in held])
        raise Conflict(
            f"only {len(held)} of {count} loopback addresses are free for hosts",
            hint=f"end other labs, or what listens on 0.0.0.0:{SSH_PORT} or 0.0.0.0:{BUS_PORT}",
        )
    return held


def hold_all(numbers: Sequence[int], *, ours: bool = False) -> list[socket.socket]:
    """Hold exactly these numbers; raises Conflict naming the first that is taken.

    `ours`: what runs on these hosts outlived its keeper, so their bus may be listening.
    """
    ports = (SSH_PORT,) if ours else (SSH_PORT, BUS_PORT)
    held: list[socket.socket] = []
    deadline = time.monotonic() + DYING_S
    for number in numbers:
        while True:
            try:
                held.append(hold(number, ports))
                break
            except OSError as error:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                release(held)
                raise Conflict(
                    f"127.{number}.0.1 is no longer free: {error.strerror}",
                    hint="oakctl lab down, then oakctl lab up",
                ) from error
    return held


def release(holders: Sequence[socket.socket]) -> None:
    """Let go; whoever inherited a holder still has it."""
    for holder in holders:
        holder.close()
