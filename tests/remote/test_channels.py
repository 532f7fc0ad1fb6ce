"""Servers that take a command and say nothing, or no end of things: every wait has its end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import fabric
import paramiko
import pytest

from oakctl.remote import channels
from oakctl.remote.channels import Channels, Late, Stdin


class Server(paramiko.ServerInterface):
    """Lets everybody in. `babbles`: a command's output is words without an end; else the server
    never says whether a command has begun."""

    def __init__(self, babbles: bool) -> None:
        self.babbles = babbles
        self.over = threading.Event()

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return "none"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: Any, command: bytes) -> bool:
        if not self.babbles:
            self.over.wait(60)
            return False
        threading.Thread(target=self._babble, args=(channel,), daemon=True).start()
        return True

    def _babble(self, channel: Any) -> None:
        with contextlib.suppress(OSError):
            while not self.over.wait(0.01):
                channel.sendall(b"words\n")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Channels]:
    near, far = socket.socketpair()
    made = Server(request.param)
    there = paramiko.Transport(far)
    there.add_server_key(paramiko.ECDSAKey.generate())
    there.start_server(server=made, event=threading.Event())
    here = paramiko.Transport(near)
    here.start_client(timeout=20)
    here.auth_none("anna")
    connection = fabric.Connection("nowhere")
    connection.transport = here
    yield Channels(connection, f"test {id(made)}")
    made.over.set()
    here.close()
    there.close()


@pytest.mark.parametrize("server", [False, True], ids=["silent", "babbling"], indirect=True)
def test_a_command_that_stays_begins_in_time_or_not_at_all(server: Channels) -> None:
    with pytest.raises(Late):
        server.attend("true", Stdin(ready="a word that never comes"), 0.5)


@pytest.mark.parametrize("server", [False], ids=["silent"], indirect=True)
def test_a_command_that_nobody_begins_is_late(server: Channels) -> None:
    assert server.run("true", Stdin(), 0.5).late


def test_a_command_is_late_also_when_its_connection_goes_just_then() -> None:
    over = threading.Event()

    class Going:
        def exec_command(self, command: str) -> None:
            over.wait(60)
            raise paramiko.SSHException(f"{command}: channel closed")

        def close(self) -> None:
            over.set()
            raise EOFError

    with pytest.raises(Late):
        channels._begin(Going(), "true", 0.05)
    # What is raised in a thread is found by pytest when that has ended.
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(20)
