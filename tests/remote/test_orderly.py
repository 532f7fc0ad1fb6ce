"""What comes too late for a channel does not end the connection with all others on it."""

from __future__ import annotations

import time
from pathlib import Path

import paramiko
import pytest

from oakctl.remote.dialling import Line
from oakctl.remote.target import Target
from tests.remote import real_sshd
from tests.remote.servers import Machines

DEADLINE_S = 20


def a_late_end_of_input(target: Target) -> bool:
    """Whether the connection survives that a command's input ends after the command."""
    line = Line(target)
    try:
        transport = line.connection.transport
        channel = transport.open_session()
        channel.exec_command("sleep 0.3")
        # What `shutdown_write` does, held up between making the message and sending it.
        with channel.lock:
            late = channel._send_eof()
        assert channel.recv_exit_status() == 0
        deadline = time.monotonic() + DEADLINE_S
        while not channel.closed:
            assert time.monotonic() < deadline, "the server does not close the channel"
            time.sleep(0.01)
        transport._send_user_message(late)
        other = transport.open_session()
        other.exec_command("echo still here")
        return bool(other.recv(100) == b"still here\n")
    except (paramiko.SSHException, EOFError, OSError):
        return False
    finally:
        line.close()


def test_the_loopback_labs_server(machines: Machines) -> None:
    assert a_late_end_of_input(machines.make().target(accept_new=True))


@pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")
def test_openssh(tmp_path: Path) -> None:
    with real_sshd.server(tmp_path) as target:
        assert a_late_end_of_input(target)
