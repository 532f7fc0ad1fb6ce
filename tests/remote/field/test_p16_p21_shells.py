"""Field failures 16 to 21: what login shells print, where nothing runs, packages in the making."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from oakctl.errors import OakError, Unreachable
from oakctl.remote import channels, facts
from oakctl.remote.channels import Channels, Ended
from oakctl.remote.connection import open_fabric
from oakctl.remote.hostlock import host_lock
from oakctl.remote.packages import APT
from oakctl.remote.questions import SCRIPT
from tests.remote import real_sshd
from tests.remote.field.reported import (
    EVERY_HOST_GETS,
    ROOM,
    as_root,
    ask,
    commands,
    elsewhere,
    fake,
    needs,
    only,
    path,
)
from tests.remote.real_sshd import server
from tests.remote.servers import Machines

real = pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")
NOISE = "echo 'Welcome'; echo 'uid=0'; echo begin; echo warn >&2; set -e; alias cat=false; "


def test_p16_a_login_shell_that_talks(machines: Machines) -> None:
    machine = machines.make(noise=NOISE)
    with open_fabric(machine.target(accept_new=True)) as remote:
        assert remote.run("echo yes").stdout == "yes\n"
        assert remote.facts.user
        content = bytes(range(256)) * 400
        remote.put(f"{machine.home}/file", content)  # no SFTP, which noise would break
        assert remote.read(f"{machine.home}/file") == content


def test_p16_a_login_shell_that_runs_nothing_is_named(machines: Machines) -> None:
    with pytest.raises(Unreachable, match="runs no commands"):
        open_fabric(machines.make(noise="echo only SFTP here; exit 1; ").target(accept_new=True))


def test_p16_a_host_that_never_stops_talking(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MOST_OUTPUT", 2_000_000)
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        for command in ("yes", "yes >&2"):
            with pytest.raises(OakError, match="said more than"):
                remote.run(command)
        assert remote.run("echo yes").stdout == "yes\n"


def test_p16_what_a_listener_has_had_is_not_kept(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Ended] = []
    run = Channels.run

    def watched(*args: Any, **options: Any) -> Ended:
        answers.append(run(*args, **options))
        return answers[-1]

    monkeypatch.setattr(Channels, "run", watched)
    lines: list[str] = []
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        code = remote.stream("seq 300000", lambda _, line: lines.append(line), timeout_s=120)
    assert code == 0
    assert lines == [str(number) for number in range(1, 300001)]
    # Its two ends: what comes first has the mark by which it is known.
    assert len(answers[-1].stdout) < 1_000_000


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "zsh", "ksh"])
def test_p17_only_what_every_sh_knows(shell: str) -> None:
    needs(shell)
    words = [shell, "sh"] if shell == "busybox" else [shell]
    subprocess.run([*words, "-n"], input=SCRIPT.encode(), check=True, timeout=20)
    assert not re.search(r"\[\[|^\s*local\b|<<<|\bfunction\b|=\(|\$\{[a-z]+//", SCRIPT, re.M)


@real
@pytest.mark.slow
@pytest.mark.parametrize("shell", ["fish", "tcsh", "zsh", "dash", "rbash"])
def test_p17_whatever_the_login_shell_is(tmp_path: Path, shell: str) -> None:
    needs(shell)
    with server(tmp_path, "USER ALL=(ALL) NOPASSWD: ALL") as target:
        words = ["usermod", "-s", f"/usr/bin/{shell}", target.user]
        subprocess.run(words, check=True, timeout=20)
        with open_fabric(target) as remote:
            assert (remote.facts.user, remote.facts.privilege) == (target.user, "sudo")
            assert remote.facts.python
            file = f"{remote.facts.home}/it's a file"
            remote.put(file, b"content\n")
            assert remote.read(file) == b"content\n"
            assert remote.root("id -u\nprintf '%s' \"$HOME!\\\\\"").stdout.startswith("0\n")


def test_p18_nothing_is_run_from_tmp() -> None:
    assert "/tmp" not in commands()
    place = ROOM.__class__(**{**vars(ROOM), "options": ("rw", "noexec")})
    assert "noexec" in only("disk", opt=place).message


@as_root
def test_p18_a_real_noexec_is_seen(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o noexec,size=1m none {tmp_path}"
    told = ask(*elsewhere(mount), HOME=str(tmp_path))
    assert told.home_place.no_exec
    assert told.home_place.kind == "tmpfs"


def test_p19_the_language_of_the_host_does_not_matter() -> None:
    strange = {"LANG": "de_DE.UTF-8", "LC_ALL": "xx_XX.nowhere", "LC_MESSAGES": "fr_FR"}
    here, there = ask(), ask(shell="bash", **strange)
    assert (there.architecture, there.user, there.opt.kind) == (
        here.architecture,
        here.user,
        here.opt.kind,
    )
    assert SCRIPT.lstrip().startswith("LC_ALL=C; export LC_ALL")


def test_p20_packages_that_are_being_installed_are_named() -> None:
    found = only("packages", package_lock="812 unattended-upgr")
    assert (found.severity, "812 unattended-upgr" in found.message) == ("note", True)
    assert not re.search(r"\bkillall\b|\bpkill\b|rm -f /var/lib/dpkg/lock", commands() + APT)


HOLD = """
mount -t tmpfs none /var/lib/dpkg
python3 -c '
import fcntl, time
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
open("/var/lib/dpkg/held", "w").close()
time.sleep(60)
' & holder=$!
while [ ! -e /var/lib/dpkg/held ]; do sleep 0.05; done
trap 'kill $holder' EXIT
"""


@as_root
@pytest.mark.skipif(not Path("/var/lib/dpkg").is_dir(), reason="no dpkg here")
def test_p20_who_holds_a_real_lock_is_found_out() -> None:
    told = ask(*(*elsewhere(HOLD)[:-2], HOLD + '"$@"', "-"))
    number, name = told.package_lock.split()
    assert int(number) > 1
    assert name.startswith("python3")


def test_p20_a_lock_is_waited_for(tmp_path: Path) -> None:
    folder, count = tmp_path / "bin", tmp_path / "count"
    fake(folder, "sleep", "exit 0")
    fake(
        folder,
        "apt-get",
        f"echo x >>{count}; [ $(wc -l <{count}) -lt 4 ] || exit 0\n"
        "echo 'E: Could not get lock /var/lib/dpkg/lock. It is held by process 812'; exit 100",
    )
    script = APT + "\napt_get install docker.io"
    done = subprocess.run(["sh", "-c", script], env={"PATH": path(folder)}, timeout=60, check=False)
    assert done.returncode == 0
    assert count.read_text().count("x") == 4


@as_root
def test_p20_an_installation_that_ended_half_way_is_seen() -> None:
    status = "Package: x\\nStatus: install ok half-configured\\n"
    mount = f"mount -t tmpfs none /var/lib/dpkg; printf '{status}' >/var/lib/dpkg/status"
    assert ask(*elsewhere(mount)).packages_interrupted
    clean = (
        "mount -t tmpfs none /var/lib/dpkg; echo 'Status: install ok installed' "
        ">/var/lib/dpkg/status"
    )
    assert not ask(*elsewhere(clean)).packages_interrupted
    found = only("packages", packages_interrupted=True)
    assert (found.severity, found.remedy) == ("fixable", "on it: sudo dpkg --configure -a")


@as_root
def test_p20_a_first_boot_that_goes_on_is_seen() -> None:
    mount = "mount -t tmpfs none /run; mkdir /run/cloud-init"
    assert ask(*elsewhere(mount)).first_boot
    assert not ask(*elsewhere(f"{mount}; touch /run/cloud-init/result.json")).first_boot
    assert "cloud-init status --wait" in only("packages", first_boot=True).remedy


def test_p21_a_lost_link_says_so_and_the_next_run_carries_on(machines: Machines) -> None:
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)) as remote:
        threading.Timer(0.3, machine.restart).start()
        with pytest.raises(Unreachable, match="lost") as caught:
            remote.run("sleep 30")
        assert "carries on" in caught.value.hint

    def again() -> bool:
        try:
            with open_fabric(machine.target()) as other, host_lock(other):
                return True
        except OakError:
            return False

    machine.until(again)


def test_p21_the_answer_to_the_questions_is_whole_or_none() -> None:
    with pytest.raises(OakError, match="cut off"):
        facts.parse("\nbegin 0123\nuser=pi\nuid=0\n", "0123")
    assert commands(*EVERY_HOST_GETS)
