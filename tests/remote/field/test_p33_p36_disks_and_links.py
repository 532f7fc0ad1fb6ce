"""Field failures 33 to 36: disks that are full, links that are slow, and links that are dead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.remote import channels, connection, preflight, target
from oakctl.remote.connection import open_fabric
from oakctl.remote.equipment import Docker, Place
from oakctl.remote.tunnel import Tunnel
from tests.remote import real_sshd
from tests.remote.field import slow_link
from tests.remote.field.reported import ROOM, about, as_root, ask, elsewhere, only, read
from tests.remote.real_sshd import server
from tests.remote.servers import Machines

real = pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (replace(ROOM, free_mb=1), "1 MiB are free"),
        (replace(ROOM, inodes_free=5), "5 inodes are free"),
        (replace(ROOM, options=("ro",)), "read-only"),
    ],
)
def test_p33_full_and_read_only_disks(place: Place, words: str) -> None:
    found = only("disk", opt=place)
    assert (found.severity, words in found.message, bool(found.remedy)) == ("block", True, True)


@as_root
def test_p33_real_ones_are_seen(tmp_path: Path) -> None:
    own = {"home_writable": True, "privilege": "", "user_manager": True}
    small = ask(
        *elsewhere(f"mount -t tmpfs -o size=1m,nr_inodes=50 none {tmp_path}"), HOME=str(tmp_path)
    )
    assert small.home_place.free_mb <= 1
    assert small.home_place.inodes_free < 50
    said = [f.message for f in about("disk", home_place=small.home_place, **own)]
    assert len(said) == 2, "room and inodes, both at once"
    sealed = ask(
        *elsewhere(f"mount --bind {tmp_path} {tmp_path}; mount -o remount,bind,ro {tmp_path}"),
        HOME=str(tmp_path),
    )
    assert sealed.home_place.read_only
    assert not sealed.home_writable


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    subprocess.run(mount, check=True, timeout=20)
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=20)


@as_root
def test_p33_what_does_not_fit_leaves_nothing(machines: Machines, full_disk: Path) -> None:
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        file = str(full_disk / "d/file")
        remote.put(file, b"before")
        with pytest.raises(OakError):
            remote.put(file, os.urandom(3_000_000))
        assert [p.name for p in (full_disk / "d").iterdir()] == ["file"]
        assert (full_disk / "d/file").read_bytes() == b"before"


def test_p33_a_file_that_does_not_arrive_whole_leaves_nothing(machines: Machines) -> None:
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)) as remote:
        remote.put(f"{machine.home}/d/file", b"before")
        with pytest.raises(OakError):  # the folder is a file
            remote.put(f"{machine.home}/d/file/x", b"after")
        assert sorted(p.name for p in (machine.home / "d").iterdir()) == ["file"]
        assert (machine.home / "d/file").read_bytes() == b"before"


@pytest.mark.slow
def test_p34_a_slow_link_that_stalls_is_waited_for(machines: Machines) -> None:
    """50 KB a second and two seconds of nothing."""
    machine = machines.make()
    content = os.urandom(200_000)
    seen: list[tuple[int, int]] = []
    with slow_link.link(machine.port, 50_000, stall_after=100_000, stall_s=2.0) as slow:
        with open_fabric(machine.target(port=slow.port, accept_new=True)) as remote:
            remote.put(
                f"{machine.home}/file",
                content,
                progress=lambda done, total: seen.append((done, total)),
            )
        assert slow.stalled
    assert (machine.home / "file").read_bytes() == content
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[-1] == (len(content), len(content))


@pytest.mark.slow
def test_p34_only_standing_still_is_too_slow(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it takes longer than any part may stand still."""
    machine = machines.make()
    content = os.urandom(30_000_000)
    monkeypatch.setattr(connection, "SLOWEST_LINK", 1e9)
    with slow_link.link(machine.port, 3e6, stall_after=3_000_000, stall_s=2.0) as slow:
        with open_fabric(machine.target(port=slow.port, accept_new=True)) as remote:
            monkeypatch.setattr(connection, "IDLE_S", 6.0)
            remote.put(f"{machine.home}/file", content)
        assert slow.stalled
    assert (machine.home / "file").read_bytes() == content


def test_p34_a_link_that_stands_still_is_given_up(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = machines.make()
    monkeypatch.setattr(connection, "SLOWEST_LINK", 1e9)
    monkeypatch.setattr(channels, "LOGIN_DEADLINE_S", 1.0)
    with slow_link.link(machine.port, 1e9, stall_after=100_000, stall_s=60) as slow:
        with open_fabric(machine.target(port=slow.port, accept_new=True)) as remote:
            monkeypatch.setattr(connection, "IDLE_S", 1.0)
            with pytest.raises(DeadlineExceeded, match=r"put .*file"):
                remote.put(f"{machine.home}/file", os.urandom(10_000_000))
        assert slow.stalled
    assert not (machine.home / "file").exists()


@pytest.mark.parametrize("kind", ["overlay", "nfs4", "9p"])
def test_p35_file_systems_that_images_do_not_like(kind: str) -> None:
    """Reported facts: the engine is there, and no image is unpacked."""
    told = read(
        docker="26.1.5\tarm64\tlinux",
        docker_info="runc,\toverlay2\t/var/lib/docker\tABCD",
        images_kb="5000000",
        images_mount=f"{kind} rw,relatime",
    )
    assert told.docker.images.kind == kind
    found = only("docker", docker=told.docker)
    assert (found.severity, kind in found.message) == ("fixable", True)
    assert "fuse-overlayfs" in found.remedy
    fuse = replace(told.docker, storage_driver="fuse-overlayfs")
    assert about("docker", docker=fuse) == []
    assert only("docker", docker=replace(told.docker, storage_driver="vfs")).severity == "note"


def test_p35_what_counts_is_where_the_images_lie() -> None:
    disk = replace(ROOM, kind="nfs4")
    docker = Docker(True, "26.1.5", "arm64", storage_driver="overlay2", images=ROOM)
    assert about("docker", docker=docker, root_place=disk) == []
    unknown = replace(docker, images=Place())
    assert "nfs4" in only("docker", docker=unknown, root_place=disk).message


@as_root
def test_p35_the_file_system_of_the_images_is_found_out(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    program = (
        'case "$*" in version*) printf "26.1.5\\tamd64\\tlinux" ;; '
        f'*Runtimes*) printf "runc,\\toverlay2\\t{images}\\tABCD" ;; '
        f"*) echo {images} ;; esac"
    )
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "docker").chmod(0o755)
    told = ask(
        *elsewhere(f"mount -t tmpfs -o size=9m none {images}"),
        PATH=f"{folder}:{os.environ['PATH']}",
    )
    assert (told.docker.version, told.docker.images.kind) == ("26.1.5", "tmpfs")
    assert told.docker.images.free_mb == 9


def sessions(user: str) -> list[int]:
    """The SSH server's processes for connections of this user."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
        if re.match(rf"sshd(-session)?: {user}\b", words):
            found.append(int(folder.name))
    return found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "KEEPALIVE_S", 1.0)


@contextmanager
def standing_still(user: str) -> Iterator[None]:
    """The server's processes for this user are stopped; what comes anew is not."""
    stopped = sessions(user)
    assert stopped
    signalled(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        signalled(stopped, signal.SIGCONT)


def signalled(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(process, number)


@real
@pytest.mark.slow
async def test_p36_a_dead_link_is_noticed_and_replaced(tmp_path: Path, impatient: None) -> None:
    """The server's process stands still, as after a laptop has slept; the TCP connection stands."""
    with server(tmp_path) as reached:
        tunnel = Tunnel(reached, "127.0.0.1", reached.port)
        await tunnel.start()
        try:
            await tunnel.wait_connected(20)
            assert await greeting(tunnel.local_port) == b"SSH-"
            first = tunnel._connection
            with standing_still(reached.user):
                async with asyncio.timeout(60):
                    while tunnel._connection is first:
                        await asyncio.sleep(0.02)
                await tunnel.wait_connected(60)
                assert await greeting(tunnel.local_port) == b"SSH-"
        finally:
            await tunnel.close()


async def greeting(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await asyncio.wait_for(reader.readexactly(4), 20)
    finally:
        writer.close()


@real
@pytest.mark.slow
def test_p36_a_command_on_a_dead_link_ends_and_the_next_connection_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOGIN_DEADLINE_S", 1.0)
    with server(tmp_path) as reached, open_fabric(reached) as remote:
        stopped = sessions(reached.user)
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(OakError):
                remote.as_login("true", timeout_s=1)
            with open_fabric(reached) as other:
                assert other.as_login("echo yes").stdout == "yes\n"
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)


def test_p36_it_takes_less_than_a_minute_and_leaves_no_file() -> None:
    assert target.KEEPALIVE_S * target.KEEPALIVES_MISSED < 60
    forwards = (Path(preflight.__file__).parent / "tunnel.py").read_text()
    assert not re.search(r"forward_remote|streamlocal|unix_connection", forwards)
