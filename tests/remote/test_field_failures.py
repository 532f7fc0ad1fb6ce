"""What has gone wrong on people's machines, by number, and what is right instead.

Each test is one failure that was reported against a tool like this one. Where the hardware is not
here, facts are written as the report has them, and the test says so ("reported facts"). What needs
a real SSH server and a real sudo is in `test_real_sshd`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError, Unreachable
from oakctl.model.views import HostFinding
from oakctl.remote import (
    authority,
    bundle,
    connection,
    facts,
    fleet_check,
    preflight,
    privilege,
    raspberry_pi,
    resources,
    sessions,
    target,
)
from oakctl.remote.connection import open_fabric
from oakctl.remote.facts import CommandLine, Control, Docker, HostFacts, Network, Place
from oakctl.remote.hostlock import host_lock
from oakctl.remote.questions import SCRIPT
from oakctl.remote.residence import SYSTEM, USER, Homeless, Residence, choose, require_usable
from oakctl.remote.target import split_address
from tests.remote.servers import Machines

NONCE = "0123"
ROOM = Place(free_mb=5000, inodes=100_000, inodes_free=90_000, kind="ext4", options=("rw",))
PI = HostFacts(  # a Raspberry Pi 4 as it comes, with nothing wrong
    hostname="pi",
    user="pi",
    uid=1000,
    home="/home/pi",
    home_writable=True,
    architecture="aarch64",
    kernel="aarch64",
    python="/usr/bin/python3",
    python_version="3.11.2",
    init="systemd",
    supervisor="systemd",
    systemd_version=252,
    privilege="sudo",
    groups=("pi", "sudo"),
    opt=ROOM,
    home_place=ROOM,
    root_place=ROOM,
    control=Control("v2", memory=True),
    network=Network(wireguard="kernel", nftables="yes"),
    clock=1000.0,
    asked_at=1000.0,
)


def read(**answers: str) -> HostFacts:
    body = "\n".join(f"{key}={value}" for key, value in answers.items())
    return facts.parse(f"\nbegin {NONCE}\n{body}\n\nend {NONCE}\n", NONCE)


def about(topic: str, **changes: Any) -> list[HostFinding]:
    found = preflight.check("pi-1", replace(PI, **changes))
    return [finding for finding in found if finding.topic == topic]


def only(topic: str, **changes: Any) -> HostFinding:
    found = about(topic, **changes)
    assert len(found) == 1, found
    return found[0]


def playbooks() -> list[Path]:
    return [
        *resources.data("playbooks").glob("*.py"),
        *Path(preflight.__file__).parent.glob("*.py"),
    ]


def commands() -> str:
    """Every text that is part of a command in what works on hosts."""
    texts = []
    for path in playbooks():
        tree = ast.parse(path.read_text())
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Attribute) and call.func.attr in ("run", "root", "attend"):
                texts += [
                    n.value
                    for argument in call.args
                    for n in ast.walk(argument)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
    return "\n".join(texts)


def test_the_host_that_the_others_differ_from_is_fine() -> None:
    severities = {finding.severity for finding in preflight.check("pi-1", PI)}
    assert severities == {"note"}


# --- 1-6: the system and its Python ---


def test_p01_memory_control_group_of_raspberry_pi_os() -> None:
    """Reported facts: the group is off, the file is one line."""
    line = "console=tty1 root=PARTUUID=1 rootwait"
    file = CommandLine("/boot/firmware/cmdline.txt", 1, line)
    off = only("memory", control=Control("v2"), command_line=file)
    assert (off.severity, "reboot" in off.remedy) == ("fixable", True)
    assert "/boot/firmware/cmdline.txt" in off.remedy
    # Turned on and still off after a boot: not the same remedy again, the firmware.
    on = replace(file, text=raspberry_pi.with_memory(line))
    assert "rpi-eeprom-update" in only("memory", control=Control("v2"), command_line=on).remedy
    two = about("memory", control=Control("v2"), command_line=replace(file, lines=2))
    assert any("reads the first alone" in finding.message for finding in two)


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


def test_p02_a_64_bit_kernel_with_32_bit_programs() -> None:
    """Reported facts of a Raspberry Pi 4 with 32-bit Raspberry Pi OS."""
    answer = read(kernel="aarch64", dpkg="armhf", long_bit="32", docker="20.10.24\tarm\tlinux")
    assert answer.architecture == "armv7l"
    assert answer.docker.architecture == "arm"  # images go by the engine, not by the kernel
    changes = {k: getattr(answer, k) for k in ("architecture", "kernel", "signals")}
    found = about("architecture", **changes)
    assert "kernel aarch64, dpkg armhf, long_bit 32" in found[0].message


def test_p02_signs_that_disagree_are_all_shown() -> None:
    answer = read(kernel="x86_64", dpkg="arm64", elf="7f454c46" + "0" * 32, long_bit="64")
    changes = {k: getattr(answer, k) for k in ("architecture", "kernel", "signals")}
    found = only("architecture", **changes)
    assert all(word in found.message for word in ("kernel x86_64", "dpkg arm64", "elf", "long_bit"))


def test_p03_armv6_is_refused_and_no_package_source_is_written() -> None:
    """Reported facts of a Raspberry Pi Zero with Raspbian."""
    answer = read(kernel="armv6l", dpkg="armhf", distribution="raspbian")
    assert answer.architecture == "armv6l"
    found = about("architecture", architecture="armv6l", kernel="armv6l")
    assert (found[0].severity, "ARMv6" in found[0].message) == ("block", True)
    assert "docker.io" in only("docker", architecture="armv7l", distribution="raspbian").remedy
    assert "sources.list" not in "".join(path.read_text() for path in playbooks())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["/usr/bin/python3\t/usr/bin/python3\t3.6.9\t"], "3.6.9, too old"),  # JetPack 4
        (["/usr/bin/python3\t/usr/bin/python3\t3.8.10\t"], "3.8.10, too old"),  # JetPack 5
        (["/usr/bin/python3\t/usr/bin/python3\t3.9.2\t"], "3.9.2, too old"),  # bullseye
        ([], "python3 is missing"),  # a minimal image
    ],
)
def test_p04_pythons_of_distributions(lines: list[str], words: str) -> None:
    """Said beforehand, not by a syntax error of the agent."""
    path, version, reason = facts.choose_python(lines)
    found = only("python", python=path, python_version=version, python_reason=reason)
    assert (found.severity, words in found.message) == ("block", True)
    assert "apt-get install python3" in found.remedy


def test_p04_the_archive_runs_and_is_not_only_compiled(own_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(bundle.build()), "version"], capture_output=True, check=True
    )
    assert done.stdout.strip()


def test_p05_pip_is_never_called() -> None:
    assert not re.search(r"\bpip3?\b|break-system-packages|get-pip", commands())


def test_p06_no_virtual_environment_is_made_on_a_host() -> None:
    assert not re.search(r"venv|ensurepip", commands())


# --- 7-10: becoming the superuser (real ones in test_real_sshd) ---


def test_p07_sudo_with_a_password_is_a_question_and_no_failure() -> None:
    asks = replace(PI, privilege="sudo-password", sudo_refusal="sudo: a password is required")
    chosen = choose(asks)
    assert isinstance(chosen, Residence)
    assert (chosen.supervisor, chosen.as_root) == (SYSTEM, True)
    found = preflight.check("pi-1", asks)
    assert [f.severity for f in found if f.topic == "sudo"] == ["note"]
    assert "secret" not in repr(replace(target.Target("a", "b"), sudo_password="secret"))
    wrapped = privilege.wrap(asks, "true", "secret")
    assert "secret" not in wrapped.command + repr(wrapped)


def test_p08_no_password_is_sent_where_none_is_asked_for() -> None:
    wrapped = privilege.wrap(PI, "cat", "secret")
    assert wrapped.password == wrapped.go == b""
    assert wrapped.command.startswith("sudo -n -- ")


@pytest.mark.parametrize("asked", [True, False], ids=["asks", "does not ask"])
def test_p09_prompts_are_never_read(tmp_path: Path, asked: bool) -> None:
    """A sudo-rs with an odd prompt; whether it reads the password or not, the input is whole."""
    sudo = tmp_path / "sudo"
    reading = "IFS= read -r password; " if asked else ""
    prompt = "printf '[sudo: authenticate] Passwort: ' >&2; "
    sudo.write_text(f'#!/bin/bash\n{prompt}{reading}shift 4; exec "$@"\n')
    sudo.chmod(0o755)
    facts_there = replace(PI, privilege="sudo-password")
    wrapped = privilege.wrap(facts_there, "cat; exit 3", "secret")
    done = subprocess.run(
        ["sh", "-c", wrapped.command],
        input=wrapped.password + wrapped.go + b"a\nb\n",
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.stdout, done.returncode) == (f"{wrapped.ready}\na\nb\n".encode(), 3)


def test_p09_doas_alone() -> None:
    assert privilege.wrap(replace(PI, privilege="doas"), "true").command.startswith("doas -n -- ")
    error = privilege.missing(replace(PI, privilege="doas-password"))
    assert "permit nopass pi" in error.hint


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("sudo: a terminal is required to read the password", "requiretty"),
        ("sudo: sorry, you must have a tty to run sudo", "requiretty"),
        ("pi is not in the sudoers file.", "usermod -aG sudo pi"),
        ("sudo: I'm sorry pi. I'm afraid I can't do that", "usermod -aG sudo pi"),  # sudo-rs
        ('sudo: The "no new privileges" flag is set', "not to a container"),
        ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", "chmod u+s"),
        ("sudo: Account or password is expired", "passwd pi"),
        ("Sorry, try again.", "sudo -k -v"),
        ("Das hat nicht geklappt, bitte nochmal probieren.", "sudo -k -v"),
    ],
)
def test_p09_each_refusal_has_its_remedy(said: str, words: str) -> None:
    error = privilege.refusal(replace(PI, privilege="sudo-password"), said)
    assert words in error.message + error.hint
    assert said in error.details


def test_p10_nothing_depends_on_a_group_of_the_session() -> None:
    assert not re.search(r"usermod|gpasswd|newgrp|adduser", commands())


# --- 11-15: SSH ---


def test_p11_a_changed_host_key_is_refused_at_once(machines: Machines) -> None:
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)):
        pass
    before = len(machine.logins)
    machine.restart(asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(Unreachable) as caught:
        open_fabric(machine.target(accept_new=True))
    said = " ".join((caught.value.message, *caught.value.details))
    assert said.count("SHA256:") == 2
    assert len(machine.logins) == before, "nothing was sent, nothing was tried again"


def test_p12_an_unknown_host_key_names_the_way_out(machines: Machines) -> None:
    machine = machines.make()
    with pytest.raises(Unreachable) as caught:
        open_fabric(machine.target())
    assert "--accept-new" in caught.value.hint
    assert "SHA256:" in " ".join((caught.value.message, *caught.value.details))


def test_p13_every_hop_is_checked(machines: Machines) -> None:
    hop, machine = machines.make(), machines.make()
    with open_fabric(machine.target(accept_new=True)):  # the target is known, the hop is not
        pass
    with pytest.raises(Unreachable, match="the jump host of pi"):
        open_fabric(machine.target(jump=(f"anna@127.0.0.1:{hop.port}",)))


def test_p14_only_the_named_key_is_offered(machines: Machines) -> None:
    named = machines.make().target()
    assert [offer.file for offer in named.identity().offers] == [Path(named.identity_file)]


def test_p14_a_dead_agent_is_no_failure(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with open_fabric(machines.make().target(accept_new=True)) as remote:
        assert remote.run("echo yes").stdout == "yes\n"


def test_p15_fewer_sessions_than_the_default() -> None:
    """The real limit is tested in `test_real_sshd`; here, that we stay below the default."""
    assert sessions.MOST + 1 < 10  # and the lock's


# --- 16-21: shells, places, packages ---


def test_p16_a_login_shell_that_talks(machines: Machines) -> None:
    noise = "echo 'Welcome'; echo 'uid=0'; echo begin; echo warn >&2; set -e; "
    with open_fabric(machines.make(noise=noise).target(accept_new=True)) as remote:
        assert remote.run("echo yes").stdout == "yes\n"
        assert remote.facts.user


def test_p17_only_what_every_sh_knows() -> None:
    assert not re.search(r"\[\[|^\s*local\b|<<<|\bfunction\b|=\(|\$\{[a-z]+//", SCRIPT, re.M)
    for shell in ("dash", "bash", "busybox"):
        words = [shell, "sh"] if shell == "busybox" else [shell]
        try:
            subprocess.run([*words, "-n"], input=SCRIPT.encode(), check=True, timeout=20)
        except FileNotFoundError:
            continue


def test_p18_nothing_is_run_from_tmp() -> None:
    assert "/tmp" not in commands()
    place = replace(ROOM, options=("rw", "noexec"))
    assert "noexec" in only("disk", opt=place).message


def test_p19_the_language_of_the_host_does_not_matter() -> None:
    assert SCRIPT.lstrip().startswith("LC_ALL=C; export LC_ALL")


def test_p20_packages_that_are_being_installed_are_named() -> None:
    found = only("packages", package_lock="812 unattended-upgr")
    assert (found.severity, "812 unattended-upgr" in found.message) == ("note", True)
    assert not re.search(r"\bapt(-get)?\b|\bdpkg --|killall|pkill", commands())


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


# --- 22-26: clocks, copies, networks ---


def skew(**offsets: float) -> dict[str, list[str]]:
    hosts = {name: replace(PI, clock=1000.0 + offset) for name, offset in offsets.items()}
    found = [each for each in fleet_check.check(hosts) if each.topic == "clock"]
    return {name: [f.message for f in found if f.host == name] for name in offsets}


def test_p22_a_clock_that_is_wrong_is_measured_against_the_others() -> None:
    found = skew(a=0, b=2, c=-7 * 86400)
    assert found["a"] == found["b"] == []
    assert "certificates are not valid there yet" in found["c"][0]
    # The laptop is the one that is wrong: nobody else is.
    assert skew(a=500, b=501, c=499) == {"a": [], "b": [], "c": []}
    assert authority.BACKDATED.total_seconds() == fleet_check.CERTIFICATE_SLACK_S


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=9))
def test_p22_a_little_skew_is_none(offsets: list[float]) -> None:
    hosts = {f"h{i}": replace(PI, clock=1000.0 + each) for i, each in enumerate(offsets)}
    assert not [f for f in fleet_check.check(hosts) if f.topic == "clock" and len(hosts) < 3]


def test_p23_copied_images() -> None:
    one = replace(PI, hostname="raspberrypi", machine_id="m", host_keys=("ssh-ed25519 A",))
    found = fleet_check.check({"pi-1": one, "pi-2": one, "pi-3": replace(PI, machine_id="x")})
    copies = [f for f in found if f.topic == "copy"]
    assert {f.host for f in copies} == {"pi-1", "pi-2"}
    said = " ".join(f.message for f in copies)
    assert all(word in said for word in ("machine-id", "SSH host key", "raspberrypi"))
    assert all(f.remedy for f in copies)
    assert {f.severity for f in copies} <= {"fixable", "note"}, "a name of ours tells them apart"


def test_p23_hosts_of_a_lab_share_a_machine_on_purpose() -> None:
    lab = replace(PI, supervisor="plain:/s", machine_id="m")
    assert not [f for f in fleet_check.check({"a": lab, "b": lab}) if f.topic == "copy"]


def test_p24_a_worker_is_its_name_and_secret_not_its_address() -> None:
    """A worker dials out; nothing that lets it in names an address."""
    from oakctl.orchestration.cluster import bus_server

    entry = {"role": "worker", "hash": "$2b$04$" + "a" * 53}
    users = bus_server.render_users({"w1": entry})
    assert not re.search(r"\d+\.\d+\.\d+\.\d+|allowed_connection", users)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("[::1]:2222", ("", "::1", 2222)), ("pi@[fe80::1]", ("pi", "fe80::1", 22))],
)
def test_p25_ipv6_addresses(text: str, parts: tuple[str, str, int]) -> None:
    assert split_address(text) == parts  # a real connection is in `test_real_sshd`


def test_p26_a_host_needs_no_internet() -> None:
    assert not re.search(r"\bcurl\b|\bwget\b|https?://|\bapt", commands())


# --- 27-32: kernels, rules, Docker, GPUs ---


def test_p27_no_wireguard_is_told_with_the_way_around() -> None:
    """Reported facts of a Jetson: the module is not there."""
    none = only("network", network=Network(wireguard="missing", nftables="yes"))
    assert "through a relay" in none.message
    other = Network(wireguard="missing", wireguard_userspace=True, nftables="yes")
    assert "in userspace" in only("network", network=other).message
    assert "modprobe" not in SCRIPT


def test_p28_two_kinds_of_iptables() -> None:
    """Reported facts: rules in both."""
    both = Network("kernel", nftables="yes", iptables="nf_tables", legacy_rules=4, nft_rules=9)
    assert only("network", network=both).severity == "fixable"
    broken = Network("kernel", nftables="does not work")  # reported facts of a Xavier, 5.10-tegra
    assert "iptables-legacy" in only("network", network=broken).message
    assert "update-alternatives" not in commands()
    assert read(iptables="iptables v1.8.9 (nf_tables)").network.iptables == "nf_tables"
    assert read(iptables="iptables v1.6.1").network.iptables == "legacy"


def test_p29_docker_28_without_iptable_raw() -> None:
    """Reported facts of an Orin with JetPack 6."""
    changes: dict[str, Any] = {
        "kernel_release": "5.15.148-tegra",
        "network": Network("kernel", nftables="yes", iptable_raw="no"),
    }
    found = only("docker", docker=Docker(True, "28.0.1", "arm64"), **changes)
    assert (found.severity, "Docker 27" in found.remedy) == ("fixable", True)
    assert about("docker", docker=Docker(True, "27.5.1", "arm64"), **changes) == []


def test_p30_forwarded_packets_that_are_dropped() -> None:
    assert read(forward="-P FORWARD DROP").network.forward_policy == "DROP"
    drop = Network("kernel", nftables="yes", forward_policy="DROP")
    assert "DOCKER-USER" in only("network", network=drop).remedy


@pytest.mark.parametrize("wall", ["ufw", "firewalld"])
def test_p31_active_firewalls(wall: str) -> None:
    found = only("firewall", network=Network("kernel", nftables="yes", firewalls=(wall,)))
    assert "4222" in found.remedy
    assert not re.search(r"nft flush|iptables -F|--reload", commands())


def test_p32_a_jetson_without_nvidia_smi_has_a_gpu() -> None:
    """Reported facts of JetPack 5 and 6."""
    five = read(
        l4t="# R35 (release), REVISION: 3.1, GCID: 32827747, BOARD: t186ref",
        device="NVIDIA Jetson Xavier NX",
    )
    assert (five.gpus, five.l4t) == (("Jetson integrated",), "35.3.1")
    six = read(compatible="nvidia,tegra234", nvidia="Orin (nvgpu), [N/A], N/A;")
    assert six.gpus == ("Jetson integrated",)
    assert read(nvidia="NVIDIA-SMI has failed because it couldn't communicate;").gpus == ()
    card = read(nvidia="NVIDIA GeForce RTX 3080, 10240 MiB, 550.1;")
    assert card.gpus == ("NVIDIA GeForce RTX 3080, 10240 MiB",)
    shared = only("gpu", gpus=five.gpus)
    assert "its memory is the system's" in shared.message
    docker = Docker(True, "24.0.5", "arm64", runtimes=("runc",))
    assert "NVIDIA runtime" in only("docker", docker=docker, l4t="35.3.1").message


# --- 33-36: disks, slow links, file systems, dead links ---


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


def test_p33_a_file_that_does_not_arrive_whole_leaves_nothing(machines: Machines) -> None:
    machine = machines.make()
    with open_fabric(machine.target(accept_new=True)) as remote:
        remote.put(f"{machine.home}/d/file", b"before")
        machine.environment["PATH"] = "/usr/bin:/bin"
        with pytest.raises(OakError):  # the folder is a file
            remote.put(f"{machine.home}/d/file/x", b"after")
        assert sorted(p.name for p in (machine.home / "d").iterdir()) == ["file"]
        assert (machine.home / "d/file").read_bytes() == b"before"


def test_p34_the_deadline_of_an_upload_grows_with_it() -> None:
    assert connection.SLOWEST_LINK <= 50_000  # bytes per second


def test_p35_file_systems_that_images_do_not_like() -> None:
    docker = Docker(True, "26.1.5", "amd64", storage_driver="vfs")
    assert "vfs" in only("docker", docker=docker).message
    nfs = replace(ROOM, kind="nfs4")
    docker = Docker(True, "26.1.5", "amd64", storage_driver="overlay2")
    assert "nfs4" in only("docker", docker=docker, root_place=nfs).message


def test_p36_a_dead_link_is_noticed_and_no_file_is_left() -> None:
    """That a tunnel comes back by itself is tested with it."""
    assert target.KEEPALIVE_S * target.KEEPALIVES_MISSED < 60
    forwards = (Path(preflight.__file__).parent / "tunnel.py").read_text()
    assert not re.search(r"forward_remote|streamlocal|unix_connection", forwards)


# --- where we live on a host ---


@pytest.mark.parametrize(
    ("changes", "supervisor", "prefix"),
    [
        ({"privilege": "root", "uid": 0}, SYSTEM, "/opt/oakctl"),
        ({}, SYSTEM, "/opt/oakctl"),
        ({"privilege": "", "user_manager": True}, USER, "/home/pi/.oakctl"),
        (
            {"privilege": "sudo-password", "groups": ("pi",), "user_manager": True},
            USER,
            "/home/pi/.oakctl",
        ),
        ({"supervisor": "plain:/s"}, "plain", "/home/pi/.oakctl"),
    ],
)
def test_residence_and_its_reason(changes: dict[str, Any], supervisor: str, prefix: str) -> None:
    chosen = choose(replace(PI, **changes))
    assert isinstance(chosen, Residence)
    assert (chosen.supervisor, chosen.prefix) == (supervisor, prefix)
    assert chosen.reason
    assert require_usable("pi-1", replace(PI, **changes), chosen) == chosen


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "busybox", "supervisor": ""},
        {"systemd_version": 237},
        {"privilege": ""},
        {"privilege": "doas-password"},
    ],
)
def test_no_residence_says_what_to_do(changes: dict[str, Any]) -> None:
    chosen = choose(replace(PI, **changes))
    assert isinstance(chosen, Homeless)
    with pytest.raises(OakError) as caught:
        require_usable("pi-1", replace(PI, **changes), chosen)
    assert caught.value.hint


def test_every_number_has_its_test() -> None:
    names = [name for name in globals() if name.startswith("test_p")]
    assert {int(name[6:8]) for name in names} == set(range(1, 37))
