"""A light host to its SSH server and its supervisor.

The keeper's own process stays in the operator's network. It has the user namespace that the lab is
in, so that it may start children and open sockets inside of any host. Does not belong here: what is
started; the lab's network (`lab`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from oakctl.lab.children import Child, Children
from oakctl.lab.namespaces.keeper import numbers_of
from oakctl.lab.namespaces.lab import NamespaceLab
from oakctl.lab.place import Place

CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
# `nsenter` leaves the working directory behind.
_THERE = 'cd "$0" && exec "$@"'


class Apart(Place):
    """The host called `name` of a lab."""

    def __init__(self, children: Children, lab: NamespaceLab, name: str) -> None:
        super().__init__(children)
        self._lab = lab
        self._name = name

    def turn_on(self) -> None:
        """See `Place`: with a network as new."""
        if not self._lab.is_on(self._name):
            self._lab.boot(self._name)

    def turn_off(self) -> None:
        """See `Place`."""
        self._lab.power_cut(self._name)

    def pull(self) -> None:
        """See `Place`."""
        self._lab.cut(self._name)

    def number_of(self, pid: int) -> int:
        """See `Place`."""
        try:
            return numbers_of(pid)[-1] if pid else 0
        except OSError:  # it has just ended
            return pid

    def may_reach(self, host: str) -> bool:
        """See `Place`: its network is the lab's, and leads nowhere else."""
        return True

    def socket(self) -> socket.socket:
        """See `Place`."""
        # By a thread that ends there: there is no way back into a network that is not the lab's.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_socket_of, self._pid).result()

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
        """See `Place`: a child of the keeper, among the host's processes."""
        enter = ("nsenter", "--target", str(self._pid), "--net", "--mount", "--uts", "--")
        # A process is of the namespace in which it was made; entering one later does not move it.
        with _children_of(self._pid):
            return self._children.spawn(
                (*enter, "/bin/sh", "-c", _THERE, str(directory), *argv),
                environment=environment,
                directory=Path("/"),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                terminal=terminal,
            )

    @property
    def _pid(self) -> int:
        return self._lab.node(self._name).pid


def _socket_of(pid: int) -> socket.socket:
    """A socket of the process's network, in which this thread stays; raises OSError."""
    _enter(f"/proc/{pid}/ns/net", CLONE_NEWNET)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


@contextlib.contextmanager
def _children_of(pid: int) -> Iterator[None]:
    """Let new processes be among those of another one for a moment; raises OSError."""
    _enter(f"/proc/{pid}/ns/pid", CLONE_NEWPID)
    try:
        yield
    finally:
        _enter("/proc/self/ns/pid", CLONE_NEWPID)


def _enter(path: str, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, kind) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(descriptor)
