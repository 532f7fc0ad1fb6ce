"""Field failures 1 to 6: memory groups, processors, and which Python there is."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.remote import bundle, facts, preflight, raspberry_pi
from oakctl.remote.equipment import CommandLine, Control, Docker
from oakctl.remote.packages import APT
from tests.remote.field.reported import (
    EVERY_HOST_GETS,
    PI,
    about,
    ask,
    commands,
    fake,
    only,
    path,
    read,
    taken,
)

PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
LINE = "console=tty1 root=PARTUUID=1 rootwait"
FILE = CommandLine("/boot/firmware/cmdline.txt", 1, LINE, booted_with=LINE)


def test_the_host_that_the_others_differ_from_is_fine() -> None:
    severities = {finding.severity for finding in preflight.check("pi-1", PI)}
    assert severities == {"note"}


def test_p01_memory_control_group_of_raspberry_pi_os() -> None:
    """Reported facts: the group is off, the file is one line. The step and its restart are tried
    on a real host in tests/playbooks/test_raspberry_pi."""
    off = only("memory", control=Control("v2"), command_line=FILE)
    assert (off.severity, "reboot" in off.remedy) == ("fixable", True)
    assert "/boot/firmware/cmdline.txt" in off.remedy
    assert "memory limits are not enforced" in off.message  # it may join all the same
    two = about("memory", control=Control("v2"), command_line=replace(FILE, lines=2))
    assert any("reads the first alone" in finding.message for finding in two)


def test_p01_turned_on_it_wants_a_restart_and_after_that_new_firmware() -> None:
    """Reported facts of a Raspberry Pi 5: the group stayed off until its firmware was updated."""
    on = replace(FILE, text=raspberry_pi.with_memory(LINE))
    waiting = only("memory", control=Control("v2"), command_line=on)
    assert waiting.remedy == "sudo reboot"
    booted = replace(on, booted_with=f"cgroup_disable=memory {on.text}")
    assert "rpi-eeprom-update" in only("memory", control=Control("v2"), command_line=booted).remedy


def test_p01_the_remedy_does_what_the_step_does(tmp_path: Path) -> None:
    file = tmp_path / "cmdline.txt"
    file.write_text(f"{LINE}\n")
    by_hand = re.search(r"sudo (sed .*?) && sudo reboot", raspberry_pi.remedy(str(file)))
    assert by_hand
    subprocess.run(["sh", "-c", by_hand.group(1)], check=True, timeout=20)
    assert file.read_text() == raspberry_pi.with_memory(f"{LINE}\n")
    assert (tmp_path / "cmdline.txt.before-oakctl").read_text() == f"{LINE}\n"


@given(st.text(st.characters(exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_p01_the_command_line_stays_one_line(text: str) -> None:
    fixed = raspberry_pi.with_memory(text)
    assert fixed.count("\n") == text.count("\n")
    assert raspberry_pi.enables_memory(fixed.partition("\n")[0])
    assert raspberry_pi.with_memory(fixed) == fixed
    assert fixed.partition("\n")[2] == text.partition("\n")[2]


def test_p01_both_versions_of_control_groups_are_read() -> None:
    first = read(cgroup1="/sys/fs/cgroup/cpu ", memory_cgroup="0")
    assert first.control == Control("v1", memory=False)
    second = read(cgroup2="/sys/fs/cgroup", controllers="cpu memory", memory_cgroup="0")
    assert second.control == Control("v2", memory=True)
    assert read(cgroup1="/a ", cgroup2="/b", memory_cgroup="1").control == Control("hybrid", True)


def test_p01_the_file_of_either_place_is_read() -> None:
    for file in ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt"):
        told = read(cmdline=f"{file}\t1\t{LINE}", booted_with="cgroup_disable=memory")
        assert told.command_line == CommandLine(file, 1, LINE, "cgroup_disable=memory")


def test_p02_a_64_bit_kernel_with_32_bit_programs() -> None:
    """Reported facts of a Raspberry Pi 4 with 32-bit Raspberry Pi OS."""
    told = read(kernel="aarch64", dpkg="armhf", long_bit="32", docker="20.10.24\tarm\tlinux")
    assert told.architecture == "armv7l"
    assert told.docker.architecture == "arm"  # images go by the engine, not by the kernel
    found = about("architecture", **taken(told, "architecture", "kernel", "signals"))
    assert "kernel aarch64, dpkg armhf, long_bit 32" in found[0].message


def test_p02_a_64_bit_engine_over_32_bit_programs() -> None:
    """Reported facts: the engine's packages were of the kernel's architecture."""
    docker = Docker(True, "27.5.1", "arm64", storage_driver="overlay2")
    mixed = only("docker", docker=docker, architecture="armv7l")
    assert "images go by the first" in mixed.message
    assert about("docker", docker=docker) == []
    same = replace(docker, architecture="arm")
    assert about("docker", docker=same, architecture="armv7l") == []


def test_p02_without_dpkg_the_programs_say_it(tmp_path: Path) -> None:
    """An Arm program's header under a kernel that calls itself aarch64."""
    header = "7f454c46" + "010101" + "00" * 9 + "0200" + "2800"
    folder = tmp_path / "bin"
    fake(folder, "uname", "case $1 in -m) echo aarch64 ;; *) echo x ;; esac")
    fake(folder, "od", f"echo {header}")
    fake(folder, "dpkg", "exit 127")
    assert ask(PATH=path(folder)).architecture == "armv7l"


def test_p02_signs_that_disagree_are_all_shown() -> None:
    told = read(kernel="x86_64", dpkg="arm64", elf="7f454c46" + "0" * 32, long_bit="64")
    found = only("architecture", **taken(told, "architecture", "kernel", "signals"))
    assert all(word in found.message for word in ("kernel x86_64", "dpkg arm64", "elf", "long_bit"))


def test_p03_armv6_is_refused_and_no_package_source_is_written() -> None:
    """Reported facts of a Raspberry Pi Zero with Raspbian."""
    told = read(kernel="armv6l", dpkg="armhf", distribution="raspbian")
    assert told.architecture == "armv6l"
    found = about("architecture", architecture="armv6l", kernel="armv6l")
    assert (found[0].severity, "ARMv6" in found[0].message) == ("block", True)
    assert "docker.io" in only("docker", architecture="armv7l", distribution="raspbian").remedy
    assert not re.search(r"sources\.list|add-apt-repository|get\.docker\.com", commands() + APT)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["/usr/bin/python3\t/usr/bin/python3\t3.6.9\t"], "3.6.9"),  # JetPack 4
        (["/usr/bin/python3\t/usr/bin/python3\t3.8.10\t"], "3.8.10"),  # JetPack 5
        (["/usr/bin/python3\t/usr/bin/python3\t3.9.2\t"], "3.9.2"),  # bullseye
        ([], "missing"),  # a minimal image
    ],
)
def test_p04_pythons_of_distributions(lines: list[str], words: str) -> None:
    """Reported facts: said beforehand, not by a syntax error of the agent."""
    chosen, version, reason = facts.choose_python(lines)
    assert chosen == ""
    found = only("python", python=chosen, python_version=version, python_reason=reason)
    assert words in found.message
    assert found.remedy


@pytest.mark.parametrize("old", ["3.6", "3.7", "3.8", "3.9"])
def test_p04_a_real_old_python_is_recognised(old: str) -> None:
    for interpreter in PYENV.glob(f"{old}.*/bin/python3"):
        told = ask(pythons=(str(interpreter),))
        assert told.python == ""
        assert f"is {interpreter.parent.parent.name}" in told.python_reason
        return
    pytest.skip(f"no Python {old}")


@pytest.mark.slow
@pytest.mark.parametrize("minor", range(10, 15))
def test_p04_the_archive_runs_and_is_not_only_compiled(minor: int, own_home: Path) -> None:
    for interpreter in PYENV.glob(f"3.{minor}.*/bin/python3"):
        words = [str(interpreter), "-I", str(bundle.build()), "version"]
        done = subprocess.run(words, capture_output=True, check=True, timeout=60)
        assert done.stdout.strip()
        return
    pytest.skip(f"no Python 3.{minor}")


def test_p05_pip_is_never_called() -> None:
    assert not re.search(r"\bpip3?\b|break-system-packages|get-pip", commands())


def test_p06_no_virtual_environment_is_made_on_a_host() -> None:
    assert not re.search(r"venv|ensurepip", commands())
    assert commands(*EVERY_HOST_GETS)
