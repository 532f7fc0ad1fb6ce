"""A link that is dead though nobody has hung up: a forwarder that swallows everything."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from oakctl.errors import Unreachable
from oakctl.remote import heartbeat, target, tunnel
from oakctl.remote.connection import open_fabric
from oakctl.remote.tunnel import Tunnel
from tests.remote.servers import Machine, Machines

DEADLINE_S = 20.0


class Wire:
    """A port that leads to another one until it is cut: then it takes all and gives nothing."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.whole = threading.Event()
        self.whole.set()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self._sockets += [near, far]
            for way in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.whole.is_set():
                    sink.sendall(data)
            if self.whole.is_set():
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()
        for each in self._sockets:
            each.close()


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make()


@pytest.fixture
def wire(machine: Machine) -> Iterator[Wire]:
    made = Wire(machine.port)
    yield made
    made.close()


def test_a_dead_link_ends_what_waits_for_it(
    machine: Machine, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = heartbeat.Heartbeat
    monkeypatch.setattr(
        "oakctl.remote.dialling.Heartbeat", lambda transport, name: real(transport, name, 0.3, 3)
    )
    reached = machine.target(accept_new=True, port=wire.port)
    with open_fabric(reached) as remote:
        assert remote.run("sleep 1; echo still here").stdout == "still here\n"
        threading.Timer(0.2, wire.whole.clear).start()
        with pytest.raises(Unreachable, match="connection was lost"):
            remote.run("sleep 60", timeout_s=120)
    wire.whole.set()
    with open_fabric(reached) as remote:
        assert remote.run("echo again").stdout == "again\n"


async def test_a_tunnel_comes_back_after_a_dead_link(
    machine: Machine, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "KEEPALIVE_S", 0.3)
    carrier = Tunnel(machine.target(accept_new=True, port=wire.port), "127.0.0.1", machine.port)
    await carrier.start()
    try:
        await carrier.wait_connected(DEADLINE_S)
        wire.whole.clear()
        async with asyncio.timeout(DEADLINE_S):
            while carrier.connected:
                await asyncio.sleep(0.02)
        wire.whole.set()
        await carrier.wait_connected(60)
    finally:
        await carrier.close()


def test_threads_end_with_the_connection(machine: Machine) -> None:
    def beating() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name.startswith("heartbeat")]

    with open_fabric(machine.target(accept_new=True)):
        assert beating()
    deadline = time.monotonic() + DEADLINE_S
    while beating():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_both_libraries_notice_within_a_minute(machine: Machine) -> None:
    options = replace(machine.target()).asyncssh_options(tunnel.asyncssh.SSHClient)
    rounds = options["keepalive_count_max"] + 1  # asyncssh counts one more
    assert options["keepalive_interval"] * rounds < 60
    assert target.KEEPALIVE_S * target.KEEPALIVES_MISSED < 60
