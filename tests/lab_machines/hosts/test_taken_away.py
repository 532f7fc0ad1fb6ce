"""A lab that is taken away leaves nothing, whatever became of it.

The first test here takes away the lab of this folder, and those after it make labs of that name:
this module's name puts it last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import oakctl
from oakctl import paths
from oakctl.errors import NotFound
from oakctl.lab import labs, processes
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines.lab_file import DEFAULT, Arch, LabPlan, MachineHost, Sudo, Suite
from tests.lab.requirements import BOOT_TIMEOUT_S, MARKS
from tests.lab_machines.hosts.picture import assert_nothing_left, new_since
from tests.lab_machines.hosts.stage import NAME, REMOTE_S, remote, timed
from tests.waiting import until_now

pytestmark = [*MARKS]


def test_down_leaves_nothing_and_twice_is_fine(
    lab: machines.Lab, state: Path, before: dict[str, set[str]]
) -> None:
    assert new_since(before)  # so that the comparison is one

    timed("down", lambda: asyncio.run(labs.down(NAME, print)))

    assert_nothing_left(state, before)
    assert processes.of_lab(lab.id) == []
    asyncio.run(labs.down(NAME, print))
    asyncio.run(machines.down(NAME))
    assert_nothing_left(state, before)
    with pytest.raises(NotFound):
        machines.load(NAME)


def started() -> subprocess.Popen[str]:
    """An `up` of the default lab in a process of its own."""
    code = (
        "import asyncio; from oakctl.lab.machines import lab, lab_file as f;"
        "asyncio.run(lab.up('mt', f.DEFAULT, lambda m: print(m, flush=True)))"
    )
    source = str(Path(oakctl.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source},
    )


@pytest.mark.parametrize("host_is_on", [False, True])
def test_a_killed_up_is_gone_on_with_or_taken_away(
    state: Path, before: dict[str, set[str]], host_is_on: bool
) -> None:
    """Killed while the network is made, or when a host boots; then up, and down without files."""
    running = started()
    assert running.stdout is not None
    word = " is on" if host_is_on else "network"
    for line in running.stdout:
        if word in line:
            break
    running.send_signal(signal.SIGKILL)
    running.communicate()
    try:
        if host_is_on:
            again = asyncio.run(machines.up(NAME, DEFAULT, print))
            assert again.on == tuple(host.name for host in again.hosts)
            # Even with its record gone, the lab is found by names that follow from its own.
            (again.directory / machines.RECORD).unlink()
    finally:
        asyncio.run(labs.down(NAME, print))
    assert_nothing_left(state, before)
    assert not paths.labs_directory().exists()


PI = LabPlan((MachineHost("pi", suite=Suite.BOOKWORM, arch=Arch.ARM64, sudo=Sudo.PASSWORD),))


@pytest.mark.soak
@pytest.mark.timeout(2 * BOOT_TIMEOUT_S)
def test_a_host_of_another_architecture(state: Path, before: dict[str, set[str]]) -> None:
    """It is emulated; whatever was registered for that is gone with the last lab that used it."""
    try:
        lab = timed("up", lambda: asyncio.run(machines.up(NAME, PI, print)))
        assert remote(lab, "pi", "uname -m; id -un").stdout.split() == ["aarch64", "oak"]
        # A program that is another user's when it runs is that when it is emulated, too.
        password = f"{lab.sudo_password}\n"
        assert remote(lab, "pi", "sudo -S -p '' id -u", stdin=password).stdout == "0\n"
        assert remote(lab, "pi", "python3 -c 'import asyncio, ssl'").returncode == 0
        timed("stop", lambda: asyncio.run(lab.stop_host("pi")))
        timed("start", lambda: asyncio.run(lab.start_host("pi")))
        assert new_since(before)["binfmt"]
    finally:
        asyncio.run(labs.down(NAME, print))
    assert_nothing_left(state, before)


@pytest.mark.soak
def test_a_killed_build_is_gone(
    state: Path,
    before: dict[str, set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed while Debian is installed: its processes and mounts are taken away, and its files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    running = started()

    def installed() -> list[Path]:
        assert running.poll() is None
        return list(tmp_path.glob("oakctl/lab/.*.new/usr"))

    until_now("something to be installed", installed, wait_s=REMOTE_S)
    running.send_signal(signal.SIGKILL)
    running.communicate()

    asyncio.run(labs.down(NAME, print))
    asyncio.run(labs.down(NAME, print))

    assert_nothing_left(state, before)
    assert list(tmp_path.glob("oakctl/lab/.*.new")) == []
