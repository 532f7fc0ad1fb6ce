"""What a host is to its SSH server and its supervisor: where processes start, what reaches what.

Belongs here: hosts that share this machine's network and processes. Does not belong here: hosts
with namespaces of their own (`namespaces.place`), and what is started.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from oakctl.lab.children import Child, Children


class Place:
    """A host that is a directory of this machine."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def turn_on(self) -> None:
        """Be there; raises OakError."""

    def turn_off(self) -> None:
        """Be gone, with all that is left on it. Without `pull` before, others are told."""

    def pull(self) -> None:
        """Nothing leaves it from now on: what ends on it after this tells nobody."""

    def number_of(self, pid: int) -> int:
        """What the host itself calls a process that was started on it."""
        return pid

    def may_reach(self, host: str) -> bool:
        """Whether its SSH server forwards to this address."""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def socket(self) -> socket.socket | None:
        """A TCP socket of the host's own network; None: any is."""
        return None

    def spawn(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        terminal: bool = False,
    ) -> Child:
        """Start `argv` there; see `Children.spawn`."""
        return self._children.spawn(
            argv,
            environment=environment,
            directory=directory,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            terminal=terminal,
        )
