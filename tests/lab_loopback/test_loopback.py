"""Up, down and power: what is there afterwards, and what is not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.lab import control, loopback, processes
from oakctl.lab.description import LabFiles
from oakctl.lab.loopback import Lab, LabHost
from tests.waiting import until

from .conftest import HOSTS, connect

SLEEP = {"name": "u", "argv": ["/bin/sleep", "986"]}


async def put_unit(host: str = "h1") -> int:
    request = {"op": "put", "host": host, "name": "u", "unit": SLEEP}
    answer = await control.ask(LabFiles("t").socket, request, timeout_s=20)
    return int(answer["units"]["u"]["pid"])


def left(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir()]


async def test_up_twice_changes_nothing(lab: Lab) -> None:
    assert await loopback.up("t", HOSTS) == lab
    assert loopback.ls() == (lab,)
    assert loopback.load("t") == lab


async def test_up_with_other_hosts_is_refused(lab: Lab) -> None:
    with pytest.raises(Conflict, match="other hosts"):
        await loopback.up("t", [LabHost("h1")])


async def test_down_leaves_nothing_and_twice_is_fine(state: Path) -> None:
    lab = await loopback.up("t", HOSTS)
    await put_unit()
    for _ in range(2):
        await loopback.down("t")
        assert processes.of_lab(lab.id) == []
        assert left(state) == []
    for host in lab.hosts:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT
            probe.bind((host.address, host.port))
    with pytest.raises(NotFound):
        loopback.load("t")


async def test_down_ends_what_left_its_session_and_its_keeper(state: Path) -> None:
    lab = await loopback.up("t", HOSTS)
    await put_unit()
    async with connect(lab.host("h2")) as client:
        await client.run("setsid sleep 986 </dev/null >/dev/null 2>&1 &")
    await until("keeper, unit and stray run", lambda: len(processes.of_lab(lab.id)) == 3)
    os.kill(lab.keeper, signal.SIGKILL)
    await loopback.down("t")
    assert processes.of_lab(lab.id) == []
    assert left(state) == []


async def test_a_bus_that_outlived_its_keeper_does_not_keep_the_lab_from_coming_back(
    state: Path,
) -> None:
    lab = await loopback.up("t", HOSTS)
    try:
        with socket.create_server((lab.hosts[0].address, 4222)):
            os.kill(lab.keeper, signal.SIGKILL)
            again = await loopback.up("t", HOSTS)
        assert again.keeper not in (0, lab.keeper)
        assert again.on == lab.on
    finally:
        await loopback.down("t")


async def test_a_lab_whose_files_are_gone_is_still_found(state: Path) -> None:
    lab = await loopback.up("t", HOSTS)
    shutil.rmtree(lab.directory)
    again = await loopback.up("t", HOSTS)
    assert again.keeper != lab.keeper
    async with connect(again.host("h1")) as client:
        assert (await client.run("echo here")).stdout == "here\n"
    shutil.rmtree(again.directory)
    await loopback.down("t")
    assert processes.of_lab(lab.id) == []


async def test_other_peoples_entries_in_known_hosts_stay(state: Path) -> None:
    file = paths.known_hosts()
    paths.private_directory(file.parent)
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()
    mine = f"[127.2.0.1]:22 {stranger[0]} {stranger[1]} mine\n"
    file.write_text(mine)
    lab = await loopback.up("t", HOSTS)
    assert len(file.read_text().splitlines()) == 1 + len(lab.hosts)
    await loopback.down("t")
    assert file.read_text() == mine


async def test_power_cut_kills_the_host_and_no_other(lab: Lab) -> None:
    dead, living = await put_unit("h1"), await put_unit("h2")
    async with connect(lab.host("h1")) as client:
        await client.run("setsid sleep 986 </dev/null >/dev/null 2>&1 &")
        await lab.power_cut("h1")
        assert processes.of_lab(lab.id, "h1") == []
        with pytest.raises((asyncssh.Error, OSError)):
            await client.run("true")
    with pytest.raises(ConnectionRefusedError):
        async with connect(lab.host("h1")):
            pass
    assert processes.start_of(dead) is None
    assert processes.start_of(living) is not None
    assert loopback.load("t").on == ("h2",)
    with pytest.raises(Conflict, match="off"):
        await put_unit("h1")
    await lab.start_host("h1")
    running = await control.ask(LabFiles("t").socket, {"op": "status", "host": "h1"}, timeout_s=9)
    assert running["units"]["u"]["state"] == "running"


async def test_a_host_that_was_stopped_starts_with_its_lab(lab: Lab) -> None:
    await put_unit()
    await lab.stop_host("h1")
    assert processes.of_lab(lab.id, "h1") == []
    again = await loopback.up("t", HOSTS)
    assert again.on == ("h1", "h2")
    assert len(processes.of_lab(lab.id, "h1")) == 1


async def test_up_interrupted_anywhere_can_be_taken_down(state: Path) -> None:
    """Seeded kills of a real `up` in another process, each followed by `down`."""
    script = (
        "import asyncio; from oakctl.lab import loopback as l; "
        "asyncio.run(l.up('t', [l.LabHost('h1'), l.LabHost('h2')], lambda s: print(s, flush=True)))"
    )
    for lines in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        for _ in range(lines):
            await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGINT if lines else signal.SIGKILL)
        await asyncio.to_thread(process.communicate)
        await loopback.down("t")
        assert left(state) == []


async def test_a_taken_address_is_left_to_who_has_it(state: Path) -> None:
    lab = await loopback.up("t", HOSTS)
    os.kill(lab.keeper, signal.SIGKILL)
    await until("the keeper is gone", lambda: not control.answers(LabFiles("t").socket))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((lab.hosts[0].address, lab.hosts[0].port))
        other.listen()
        with pytest.raises(Conflict, match=lab.hosts[0].address):
            await loopback.up("t", HOSTS)
    await loopback.down("t")


async def test_a_name_is_checked_before_anything_is_done(state: Path) -> None:
    with pytest.raises(UsageError):
        await loopback.up("../x", HOSTS)
    assert list(state.iterdir()) == []
