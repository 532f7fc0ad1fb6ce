"""Field failures 7 to 10: becoming the superuser. More with a real sudo is in `test_real_sshd`."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.remote import preflight, privilege
from oakctl.remote.connection import open_fabric
from oakctl.remote.residence import SYSTEM, Residence, choose
from oakctl.remote.target import Target
from tests.remote import real_sshd
from tests.remote.field.reported import EVERY_HOST_GETS, PI, ask, commands, fake, mirror
from tests.remote.real_sshd import PASSWORD, server

real = pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-")
ASKS = "USER ALL=(ALL) PASSWD: ALL"

# Where every user of the host can see it, and where it would stay.
SEEN = (
    "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr -d '\\0'; "
    "cat ~USER/.* ~USER/* /var/log/auth.log /var/log/sudo.log 2>/dev/null; true"
)


def test_p07_sudo_with_a_password_is_a_question_and_no_failure() -> None:
    asks = replace(PI, privilege="sudo-password", sudo_refusal="sudo: a password is required")
    chosen = choose(asks)
    assert isinstance(chosen, Residence)
    assert (chosen.supervisor, chosen.as_root) == (SYSTEM, True)
    found = preflight.check("pi-1", asks)
    assert [f.severity for f in found if f.topic == "sudo"] == ["note"]
    assert "secret" not in repr(replace(Target("a", "b"), sudo_password="secret"))
    wrapped = privilege.wrap(asks, "true", "secret")
    assert "secret" not in wrapped.command + repr(wrapped)


@real
@pytest.mark.slow
def test_p07_the_password_is_nowhere_on_the_host(tmp_path: Path) -> None:
    with server(tmp_path, ASKS) as target:
        with open_fabric(replace(target, sudo_password=PASSWORD)) as remote:
            assert remote.facts.privilege == "sudo-password"
            user = remote.facts.user
            seen = remote.root(SEEN.replace("USER", user), check=False).stdout
            assert "sshd" in seen, "the arguments of processes were read"
            assert PASSWORD not in seen
        assert PASSWORD not in (tmp_path / "log").read_text(errors="replace")


def test_p08_no_password_is_sent_where_none_is_asked_for() -> None:
    wrapped = privilege.wrap(PI, "cat", "secret")
    assert wrapped.password == b""
    assert wrapped.command.startswith("sudo -n -- ")


@real
@pytest.mark.slow
def test_p08_a_real_sudo_that_asks_nothing_leaves_the_input_whole(tmp_path: Path) -> None:
    with server(tmp_path, "USER ALL=(ALL) NOPASSWD: ALL") as target:
        given = replace(target, sudo_password=PASSWORD)
        with open_fabric(given) as remote:
            assert remote.root("id -u; cat", stdin=b"first\n").stdout == "0\nfirst\n"


@pytest.mark.parametrize("asked", [True, False], ids=["asks", "does not ask"])
def test_p09_prompts_are_never_read(tmp_path: Path, asked: bool) -> None:
    """A sudo-rs with an odd prompt; whether it reads the password or not, the input is whole."""
    reading = "IFS= read -r password; " if asked else ""
    sudo = tmp_path / "sudo"
    prompt = "printf '[sudo: authenticate] Passwort: ' >&2; "
    sudo.write_text(f'#!/bin/bash\n{prompt}{reading}shift 4; exec "$@"\n')
    sudo.chmod(0o755)
    wrapped = privilege.wrap(replace(PI, privilege="sudo-password"), "cat; exit 3", "secret")
    with subprocess.Popen(
        ["sh", "-c", wrapped.command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(wrapped.password)
        process.stdin.flush()
        # What follows goes out only now: sudo-rs takes all that is there for the password.
        assert process.stdout.readline().decode() == f"{wrapped.ready}\n"
        said, _ = process.communicate(wrapped.go + b"a\nb\n", timeout=20)
    assert (said, process.returncode) == (b"a\nb\n", 3)


def test_p09_doas_alone() -> None:
    assert privilege.wrap(replace(PI, privilege="doas"), "true").command.startswith("doas -n -- ")
    error = privilege.missing(replace(PI, privilege="doas-password"))
    assert "permit nopass pi" in error.hint


@pytest.mark.parametrize(
    ("sudo", "doas", "privilege_found"),
    [
        ('[ "$1" = -n ] && shift; exec "$@"', "", "sudo"),
        ("echo 'sudo: a password is required' >&2; exit 1", "", "sudo-password"),
        ("", '[ "$1" = -n ] && shift; exec "$@"', "doas"),
        ("", "exit 1", "doas-password"),
        ("", "", ""),
    ],
)
def test_p09_which_of_them_is_there_is_found_out(
    tmp_path: Path, sudo: str, doas: str, privilege_found: str
) -> None:
    folder = tmp_path / "bin"
    fake(folder, "id", 'case "$1" in -u) echo 1000 ;; *) echo pi ;; esac')
    for name, body in (("sudo", sudo), ("doas", doas)):
        if body:
            fake(folder, name, body)
    # The script adds the places of system programs by itself; sudo is in none of them here.
    assert ask(PATH=mirror(folder, "sudo", "doas")).privilege == privilege_found


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
    assert not re.search(r"usermod|gpasswd|newgrp|adduser", commands(*EVERY_HOST_GETS))
