"""Hosts try to reach a bus that is not there yet: real connections between real shells."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.model.views import HostFinding
from oakctl.remote import reachability
from oakctl.remote.reachability import check_reachability
from tests.remote.servers import Machine, Machines, free_port

HUB = "127.253.9.1"
ELSEWHERE = "127.253.9.2"
TOOLS = ("sh", "printf", "tr", "cat", "sleep", "head", "timeout", "base64")


@contextmanager
def answering(address: str, port: int, greeting: bytes) -> Iterator[None]:
    """A server there that says `greeting` to everybody."""
    with socket.create_server((address, port)) as server:
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                client, _ = server.accept()
                with client:
                    client.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            socket.create_connection((address, port)).close()
            thread.join()


def path_with(folder: Path) -> str:
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return str(folder)


async def check(
    hub: Machine, workers: list[Machine], *addresses: str, port: int
) -> list[HostFinding]:
    orchestrator = hub.target(name="hub", accept_new=True)
    targets = [m.target(name=f"pi-{n}", accept_new=True) for n, m in enumerate(workers)]
    return await check_reachability(targets, orchestrator, addresses or (HUB,), port, listen_on=HUB)


async def test_hosts_that_reach_it_and_nothing_is_left(machines: Machines) -> None:
    port = free_port()
    noisy = machines.make(noise="echo hello; echo >&2 warn; ")
    workers = [machines.make(), machines.make(), noisy]
    assert await check(machines.make(), workers, port=port) == []
    for _ in range(2):  # the second finds no port in use by the first
        assert await check(noisy, workers[:1], port=port) == []
    machine = workers[0]
    machine.until(lambda: not listens(HUB, port))


def listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


async def test_an_address_where_nobody_is_and_the_one_that_would_do(machines: Machines) -> None:
    port = free_port()
    hub, worker = machines.make(), machines.make()
    (found,) = await check(hub, [worker], ELSEWHERE, port=port)
    assert (found.host, found.severity, found.topic) == ("pi-0", "block", "reach")
    assert f"{ELSEWHERE}:{port}" in found.message
    (found,) = await check(hub, [worker], ELSEWHERE, HUB, port=port)
    assert f"oakctl host add hub USER@{HUB}" in found.remedy


async def test_another_machine_at_that_address(machines: Machines) -> None:
    port = free_port()
    with answering(ELSEWHERE, port, b"220 mail\r\n"):
        (found,) = await check(machines.make(), [machines.make()], ELSEWHERE, port=port)
    assert f"at {ELSEWHERE}:{port} it reaches another machine than hub" in found.message


async def test_a_bus_that_is_there_already_answers_itself(machines: Machines) -> None:
    port = free_port()
    greeting = b'INFO {"server_id":"NABC","server_name":"edge"} \r\n'
    with answering(HUB, port, greeting):
        assert await check(machines.make(), [machines.make()], port=port) == []
        with answering(ELSEWHERE, port, greeting.replace(b"NABC", b"NXYZ")):
            found = await check(machines.make(), [machines.make()], ELSEWHERE, port=port)
    assert "another machine" in found[0].message


async def test_a_port_in_use_by_something_else_is_not_tested(machines: Machines) -> None:
    port = free_port()
    with answering(HUB, port, b"220 mail\r\n"):
        (found,) = await check(machines.make(), [machines.make()], port=port)
    assert (found.severity, f"its port {port} is in use" in found.message) == ("note", True)


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "PYTHONS", "python3")


@pytest.mark.parametrize("tool", ["bash", "nc"])
async def test_a_host_without_python_tries_with_what_it_has(
    machines: Machines, tmp_path: Path, no_python: None, tool: str
) -> None:
    found = shutil.which(tool) or shutil.which("busybox")
    if found is None:
        pytest.skip(f"no {tool}")
    path = path_with(tmp_path / "bin")
    (tmp_path / "bin" / tool).symlink_to(found)
    port = free_port()
    bare = machines.make(environment={"PATH": path})
    assert await check(machines.make(), [bare], port=port) == []
    (finding,) = await check(machines.make(), [bare], ELSEWHERE, port=port)
    assert finding.severity == "block"


async def test_what_cannot_be_tried_is_said_to_be(
    machines: Machines, tmp_path: Path, no_python: None
) -> None:
    bare = machines.make(environment={"PATH": path_with(tmp_path / "bin")})
    (found,) = await check(bare, [machines.make()], port=free_port())
    assert (found.severity, "no Python there that could listen" in found.message) == ("note", True)
    gone = machines.make()
    gone.stop()
    (found,) = await check(machines.make(), [gone], port=free_port())
    assert (found.severity, "refuses connections" in found.message) == ("note", True)
    (found,) = await check(gone, [machines.make()], port=free_port())
    assert (found.host, found.severity) == ("pi-0", "note")


async def test_an_ssh_server_at_the_address_is_mentioned(
    machines: Machines, tmp_path: Path, no_python: None
) -> None:
    bare = machines.make(environment={"PATH": path_with(tmp_path / "bin")})
    hub = replace(bare.target(name="hub", accept_new=True))
    found = await check_reachability(
        [machines.make().target(accept_new=True)], hub, port=free_port()
    )
    assert "an SSH server answers it at 127.0.0.1" in found[0].message
