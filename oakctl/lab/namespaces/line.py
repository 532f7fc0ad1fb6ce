"""A slow cable: what goes to a host and what comes from it is delayed, and some of it lost.

By the kernel's netem at both ends, where it has that; else by a program of ours (`wire`) that is
put between the far end of the cable and the bridge which that was in. The host's own end is not
touched in that case, so that its addresses, routes and connections stay. Does not belong here:
which cable it is (`lab`).
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Protocol

from oakctl.errors import OakError
from oakctl.lab.machines.topology import Port
from oakctl.lab.namespaces.keeper import Node
from oakctl.lab.slow import Slow

WIRE = str(Path(__file__).with_name("wire.py"))
INSIDE = "eth0"
READY = b"ready\n"


class Line(Protocol):
    """A cable that is slow."""

    def set(self, slow: Slow) -> None:
        """Be as slow as this from now on; raises OakError."""

    def end(self) -> None:
        """Be a cable like any other."""


def lay(above: Node, port: Port, host: Node, slow: Slow) -> Line:
    """Make a host's cable slow, whose far end is `port` in `above`; raises OakError."""
    ends = ((above, port.name), (host, INSIDE))
    made: Line = _Netem(ends)
    try:
        made.set(slow)
    except OakError:  # most kernels have netem; the others say so
        made.end()
        made = _Wire(above, port, slow)
    return made


class _Netem:
    """By the kernel, as packets leave each end."""

    def __init__(self, ends: tuple[tuple[Node, str], ...]) -> None:
        self._ends = ends

    def set(self, slow: Slow) -> None:
        for node, name in self._ends:
            node.run(netem(name, slow))

    def end(self) -> None:
        for node, name in self._ends:
            with contextlib.suppress(OakError):  # there is none, or no host any more
                node.run(("tc", "qdisc", "delete", "dev", name, "root"))


class _Wire:
    """By a program between the cable's far end, out of its bridge now, and a port in its place."""

    def __init__(self, above: Node, port: Port, slow: Slow) -> None:
        self._above, self._port = above, port
        self._tap = f"{port.name}w"
        command = (sys.executable, "-S", WIRE, port.name, self._tap)
        self._program = above.spawn(command)
        assert self._program.stdout is not None
        if self._program.stdout.readline() != READY:
            self._close()
            raise OakError(
                "the cable cannot be slowed down: its program did not start",
                hint="it needs /dev/net/tun: `ls -l /dev/net/tun` says who may use it; "
                "what it said is in the lab's keeper.log",
            )
        self.set(slow)
        # The router is not to answer for itself on the cable: what it says has to take the wire.
        above.run(("ip", "link", "set", port.name, "nomaster", "arp", "off"))
        above.run(("ip", "link", "set", self._tap, "master", port.bridge, "up"))

    def set(self, slow: Slow) -> None:
        assert self._program.stdin is not None
        try:
            self._program.stdin.write(f"{slow.delay_ms} {slow.loss}\n".encode())
            self._program.stdin.flush()
        except OSError as error:
            raise OakError("the program that slows the cable down has ended") from error

    def end(self) -> None:
        self._close()  # its port goes with it
        with contextlib.suppress(OakError):  # the host was turned off
            back = ("ip", "link", "set", self._port.name, "master", self._port.bridge, "arp", "on")
            self._above.run(back)

    def _close(self) -> None:
        self._program.kill()
        self._program.wait()
        for pipe in (self._program.stdin, self._program.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def netem(name: str, slow: Slow) -> tuple[str, ...]:
    """The command that makes an end of a cable slow, by the kernel."""
    words = ("delay", f"{slow.delay_ms}ms", "loss", f"{slow.loss * 100}%", "limit", "100000")
    return ("tc", "qdisc", "replace", "dev", name, "root", "netem", *words)
