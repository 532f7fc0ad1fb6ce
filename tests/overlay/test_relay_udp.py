"""Datagram flows in this process, where the time can be given."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from oakctl.overlay.loopback.loop import Loop
from oakctl.overlay.loopback.table import Key, Listener, Target
from oakctl.overlay.loopback.udp import IDLE_S, UdpListener

from .relay_host import DEADLINE_S, free_number


class Bench:
    """A listener, a target and a client, dispatched by hand."""

    def __init__(self, number: int) -> None:
        self.loop = Loop()
        self.key = Key(f"127.{number}.9.1", 5005, "udp")
        self.target = self._socket(f"127.{number + 1}.0.2")
        self.other = self._socket(f"127.{number + 1}.0.3")
        self.listener = UdpListener(self.loop, self.table(self.target), f"127.{number}.0.1")
        self.client = self._socket("127.0.0.1")
        self.client.connect(self.key[:2])

    @staticmethod
    def _socket(address: str) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(DEADLINE_S)
        made.bind((address, 0))
        return made

    def table(self, *targets: socket.socket) -> Listener:
        found = tuple(Target("i", target.getsockname()) for target in targets)
        return Listener("a.b.c.d", self.key, "rr", found)

    def send(self, text: bytes) -> None:
        self.client.send(text)
        self.dispatch()

    def dispatch(self) -> None:
        """Let the loop work until nothing is left to be done."""
        self.loop.run(self.loop.stop, 0.0)
        self.loop._stopped = False

    def close(self) -> None:
        self.listener.close()
        self.loop.close()
        for opened in (self.client, self.target, self.other):
            opened.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with free_number() as number:
        made = Bench(number)
        yield made
        made.close()


def test_silent_flows_end(bench: Bench) -> None:
    bench.send(b"one")
    assert bench.target.recv(10) == b"one"
    now = bench.loop.time()
    bench.listener.tick(now + IDLE_S - 5)
    assert bench.listener.active().total() == 1
    bench.listener.tick(now + IDLE_S + 5)
    assert bench.listener.active().total() == 0
    bench.send(b"two")
    assert bench.target.recv(10) == b"two"


def test_answers_of_the_former_target_still_come_back(bench: Bench) -> None:
    bench.send(b"one")
    _, flow = bench.target.recvfrom(10)
    bench.target.sendto(b"late", flow)
    bench.listener.change(bench.table(bench.other))
    bench.send(b"two")
    assert bench.other.recvfrom(10) == (b"two", flow)
    bench.dispatch()
    assert bench.client.recv(10) == b"late"


def test_without_targets_datagrams_are_dropped_and_counted(bench: Bench) -> None:
    bench.listener.change(bench.table())
    bench.send(b"one")
    assert bench.listener.dropped == 1
    assert bench.listener.total == 0


def test_a_target_that_comes_up_gets_the_next_datagram(bench: Bench) -> None:
    address = bench.target.getsockname()
    bench.target.close()
    bench.send(b"lost")
    bench.dispatch()
    bench.target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bench.target.settimeout(DEADLINE_S)
    bench.target.bind(address)
    bench.send(b"heard")
    assert bench.target.recv(10) == b"heard"
