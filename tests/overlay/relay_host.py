"""A host with a real relay process, and real instances behind it, for the tests of the relay."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oakctl
from oakctl.overlay.loopback.driver import LoopbackDriver
from oakctl.overlay.plan import Listener, NodeOverlay, Target
from tests import waiting

NUMBERS = range(200, 252, 2)
DEADLINE_S = 20.0


def until(what: str, condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """What `condition` returns once that is true; fails naming `what` when it never is."""
    return waiting.until_now(what, condition, wait_s=deadline_s, step_s=0.01)


@contextlib.contextmanager
def free_number() -> Iterator[int]:
    """A loopback number that no other test process has while this lasts."""
    for number in NUMBERS:
        # An abstract Unix socket is a lock that goes with its process.
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0oakctl-test-loopback-{number}")
        except OSError:
            lock.close()
            continue
        try:
            yield number
        finally:
            lock.close()
        return
    raise AssertionError("all loopback numbers for tests are taken")


class Instance:
    """A server in this process that says its name and sends everything back."""

    def __init__(self, name: str, address: str, port: int, kind: int) -> None:
        self.name = name
        self.seen: list[tuple[str, int]] = []
        self._kind = kind
        self._open: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind((address, port))
        if kind == socket.SOCK_STREAM:
            self._socket.listen(64)
        serve = self._streams if kind == socket.SOCK_STREAM else self._datagrams
        self._threads = [threading.Thread(target=serve, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for opened in [self._socket, *self._open]:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for opened in [self._socket, *self._open]:
            opened.close()

    def _datagrams(self) -> None:
        while True:
            try:
                data, peer = self._socket.recvfrom(65536)
            except OSError:
                return
            if peer is None:  # shut down
                return
            self.seen.append(peer)
            self._socket.sendto(self.name.encode() + b":" + data, peer)

    def _streams(self) -> None:
        while True:
            try:
                opened, peer = self._socket.accept()
            except OSError:
                return
            self.seen.append(peer)
            self._open.append(opened)
            thread = threading.Thread(target=self._echo, args=(opened,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _echo(self, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):
            opened.sendall(self.name.encode() + b"\n")
            while data := opened.recv(65536):
                opened.sendall(data)
            opened.sendall(b"end")
            opened.shutdown(socket.SHUT_WR)


class RelayHost:
    """One host: its driver, its relay process, its instances."""

    def __init__(self, prefix: Path, number: int) -> None:
        self.number = number
        self.state = prefix / "state"
        self.run = prefix / "run"
        self.driver = LoopbackDriver(self.state, number)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = prefix / "relay.log"
        self._prefix = prefix
        self._instances: dict[str, Instance] = {}

    def start(self) -> None:
        """Start the relay and wait until it has read the file."""
        self.process = self.spawn()
        until("the relay's status", lambda: self.status().get("pid") == self.process.pid)

    def spawn(self) -> subprocess.Popen[bytes]:
        arguments = ["--state", str(self.state), "--number", str(self.number)]
        self._prefix.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "oakctl.overlay.loopback.relay", *arguments],
                env={**os.environ, "PYTHONPATH": str(Path(oakctl.__file__).parents[1])},
                stdout=log,
                stderr=log,
            )

    def end(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(DEADLINE_S)
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None:
            self.end(signal.SIGKILL)
        for name in list(self._instances):
            self.end_instance(name)

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.run / "relay-status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def listener(self, address: str) -> dict[str, Any]:
        """The status of the listener at an overlay address."""
        local = self.driver.local_service_address(address) if address else ""
        found = [item for item in self.status()["listeners"] if item["address"] == local]
        assert len(found) == 1
        return found[0]

    def instance(self, name: str, address: str, port: int, kind: int) -> Instance:
        """Start an instance at an overlay address."""
        made = Instance(name, self.driver.bind_address(address), port, kind)
        self._instances[name] = made
        return made

    def end_instance(self, name: str) -> None:
        self._instances.pop(name).close()

    def apply(self, *listeners: Listener) -> None:
        """Have the relay follow these listeners and wait until it has."""
        loads = self.status().get("loads", 0)
        if self.driver.apply(NodeOverlay("w1", self.number, listeners)):
            until("the relay to read its table", lambda: self.status().get("loads", 0) > loads)

    def target(self, name: str, address: str, port: int, takes_new: bool = True) -> Target:
        return Target(name, address, port, takes_new, self.number)

    def connect(self, address: str, port: int) -> tuple[socket.socket, str]:
        """A connection through the relay, and the name of the instance it led to."""
        end = (self.driver.local_service_address(address), port)
        client = socket.create_connection(end, timeout=DEADLINE_S)
        name = b""
        while not name.endswith(b"\n"):
            piece = client.recv(1)
            assert piece, "closed before the instance said its name"
            name += piece
        return client, name.decode().strip()

    def datagram_client(self, address: str, port: int) -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(DEADLINE_S)
        client.connect((self.driver.local_service_address(address), port))
        return client
