"""A server that has too many before it hangs up before it says who it is, and is asked again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import pytest

from oakctl.errors import Unreachable
from oakctl.remote import dialling
from oakctl.remote.connection import open_fabric
from tests.remote.servers import Machines


@contextmanager
def door(to: int, turns_away: int) -> Iterator[tuple[int, list[int]]]:
    """A port that hangs up on so many, and lets the next ones through to `to`; who knocked."""
    knocks: list[int] = []
    carried: list[socket.socket] = []

    def carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    near, (_, port) = server.accept()
                except OSError:
                    return
                knocks.append(port)
                if len(knocks) <= turns_away:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", to))
                carried.extend((near, far))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], knocks
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for each in carried:
                each.close()
            thread.join(20)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "DELAYS_S", (0.01, 0.01, 0.01))


def test_who_is_turned_away_knocks_again(machines: Machines) -> None:
    machine = machines.make()
    with door(machine.port, turns_away=2) as (port, knocks):
        with open_fabric(machine.target(port=port, accept_new=True)) as remote:
            assert remote.run("echo yes").stdout == "yes\n"
        assert len(knocks) == 3


def test_not_for_ever(machines: Machines) -> None:
    machine = machines.make()
    with door(machine.port, turns_away=99) as (port, knocks):
        with pytest.raises(Unreachable):
            open_fabric(machine.target(port=port, accept_new=True))
        assert len(knocks) == len(dialling.DELAYS_S) + 1


def test_a_key_that_is_refused_is_not_tried_again(machines: Machines) -> None:
    machine = machines.make()
    with door(machine.port, turns_away=0) as (port, knocks):
        with pytest.raises(Unreachable, match="not known"):
            open_fabric(machine.target(port=port))
        assert len(knocks) == 1


def test_what_is_a_server_that_hangs_up() -> None:
    assert dialling.turned_away(ConnectionResetError())
    assert dialling.turned_away(EOFError())
    assert not dialling.turned_away(ConnectionRefusedError())
    assert not dialling.turned_away(TimeoutError())
    slow = paramiko.SSHException("Error reading SSH protocol banner")
    slow.__context__ = TimeoutError()
    assert not dialling.turned_away(slow)
    gone = paramiko.SSHException("Error reading SSH protocol banner")
    gone.__context__ = EOFError()
    assert dialling.turned_away(gone)
