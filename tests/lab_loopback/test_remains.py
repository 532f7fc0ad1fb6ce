"""What is told to be left of a lab, and what is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from oakctl.lab.remains import remains

ADDRESS = "127.252.0.1"
HOLD = """
import socket, sys, time
with socket.socket() as listening:
    listening.bind((sys.argv[1], 0))
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder() -> Iterator[tuple[int, int]]:
    """(pid, port) of a process of no lab that listens on the address."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ADDRESS], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_another_process_that_took_the_address_is_not_ours(holder: tuple[int, int]) -> None:
    assert remains("a-lab", [ADDRESS]) == []


def test_a_process_of_the_lab_and_its_socket_are_told() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, ADDRESS],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OAKCTL_LAB": "a-lab"},
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        left = remains("a-lab", [ADDRESS])
        process.kill()
    assert left[0].startswith(f"process {process.pid}: ")
    assert left[1:] == [f"tcp socket on {ADDRESS}:{port}"]


def test_nothing_listens_elsewhere() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        deadline = time.monotonic() + 10
        while remains("a-lab", [ADDRESS]):
            assert time.monotonic() < deadline
