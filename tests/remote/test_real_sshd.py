"""A real OpenSSH server and a real sudo: passwords, prompts, sessions, shells, IPv6."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.errors import DeadlineExceeded, OakError
from oakctl.remote import bootstrap, runner
from oakctl.remote.connection import open_fabric
from oakctl.remote.privilege import WrongPassword
from oakctl.remote.step import Cancelled
from tests.remote import real_sshd
from tests.remote.real_sshd import PASSWORD, server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-"),
]
NONE = "USER ALL=(ALL) NOPASSWD: ALL"
ASKS = "USER ALL=(ALL) PASSWD: ALL"


def test_sudo_that_asks_nothing(tmp_path: Path) -> None:
    with server(tmp_path, NONE) as target, open_fabric(target) as remote:
        assert remote.facts.privilege == "sudo"
        done = remote.root("id -u; cat", stdin=b"input\n")
        assert done.stdout == "0\ninput\n"
        assert remote.as_login("id -u").stdout != "0\n"


def test_a_password_nobody_needs_is_not_sent(tmp_path: Path) -> None:
    with server(tmp_path, NONE) as target:
        given = replace(target, sudo_password=PASSWORD)
        with open_fabric(given) as remote:
            assert remote.root("cat", stdin=b"x").stdout == "x"


@pytest.mark.parametrize(
    "defaults",
    [
        "",
        'Defaults:USER passprompt="Kennwort bitte %u: "\nDefaults:USER badpass_message="Nein"',
        "Defaults:USER use_pty",
        "Defaults:USER lecture=always",
        "Defaults:USER timestamp_type=global",  # remembers: the password stays unread
    ],
    ids=["plain", "localised", "use_pty", "lecture", "remembers"],
)
def test_sudo_with_a_password_whatever_it_prints(tmp_path: Path, defaults: str) -> None:
    with server(tmp_path, f"{ASKS}\n{defaults}") as target:
        given = replace(target, sudo_password=PASSWORD)
        with open_fabric(given) as remote:
            assert remote.facts.privilege == "sudo-password"
            for _ in range(2):
                done = remote.root("id -u; cat", stdin=b"first\nsecond\n")
                assert done.stdout == "0\nfirst\nsecond\n"
            assert remote.root("exit 7", check=False).exit_code == 7
        nowhere(PASSWORD, tmp_path)


def nowhere(password: str, folder: Path) -> None:
    """Not in what the SSH server and sudo have logged, nor in any process's arguments."""
    logs = [folder / "log", Path("/var/log/auth.log"), Path("/var/log/sudo.log")]
    for log in logs:
        assert not log.exists() or password not in log.read_text(errors="replace")
    seen = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True)
    assert password not in seen.stdout


def test_a_wrong_password_is_tried_once(tmp_path: Path) -> None:
    log = tmp_path / "sudo.log"
    with server(tmp_path, f"{ASKS}\nDefaults:USER logfile={log}") as target:
        with open_fabric(replace(target, sudo_password="wrong")) as remote:
            for _ in range(3):
                with pytest.raises(WrongPassword, match=r"box: .* it was tried once"):
                    remote.root("true")
        attempts = log.read_text().replace("\n    ", " ").splitlines()
        assert len([line for line in attempts if "incorrect password" in line]) == 1
        assert "1 incorrect password attempt" in log.read_text().replace("\n    ", " ")


def test_no_password_is_asked_for_by_name(tmp_path: Path) -> None:
    with (
        server(tmp_path, ASKS) as target,
        open_fabric(target) as remote,
        pytest.raises(OakError, match=r"box: sudo asks for a password for oakt"),
    ):
        remote.root("true")


@pytest.mark.parametrize(
    ("sudoers", "words", "hint"),
    [
        ("", "may not use sudo", "usermod -aG sudo"),
        (f"{ASKS}\nDefaults:USER requiretty", "requiretty", "!requiretty"),
    ],
    ids=["not in sudoers", "requiretty"],
)
def test_refusals_say_what_to_type(tmp_path: Path, sudoers: str, words: str, hint: str) -> None:
    with server(tmp_path, sudoers) as target:
        given = replace(target, sudo_password=PASSWORD)
        with open_fabric(given) as remote, pytest.raises(OakError, match=words) as caught:
            remote.root("true")
        assert hint in caught.value.hint
        # A look tells what it sees all the same, the rules of a firewall excepted.
        assert bootstrap.survey(given, []).facts.privilege == "sudo-password"


def test_a_server_with_two_sessions(tmp_path: Path) -> None:
    with server(tmp_path, options="MaxSessions 2") as target, open_fabric(target) as remote:
        answers: list[str] = []

        def ask(number: int) -> Callable[[], None]:
            return lambda: answers.append(remote.as_login(f"sleep 0.1; echo {number}").stdout)

        threads = [threading.Thread(target=ask(number)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(answers) == [f"{number}\n" for number in range(6)]


def test_a_talkative_login_shell(tmp_path: Path) -> None:
    noise = "echo Welcome; echo begin; echo 'uid=0'; echo warn >&2; alias ls=false; set -e\n"
    with server(tmp_path, NONE, rc=noise) as target, open_fabric(target) as remote:
        assert remote.facts.uid > 0
        assert remote.root("echo yes").stdout == "yes\n"
        remote.put(f"{remote.facts.home}/file", b"content")
        assert remote.read(f"{remote.facts.home}/file") == b"content"


def running(command: str) -> bool:
    """Whether some process here has just these words for arguments."""
    wanted = "\0".join(command.split()) + "\0"
    found = False
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found = found or file.read_text() == wanted
        except (OSError, UnicodeDecodeError):
            continue
    return found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + real_sshd.DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("sudoers", [NONE, ASKS, f"{ASKS}\nDefaults:USER use_pty"])
def test_what_ran_as_the_superuser_is_ended_too(tmp_path: Path, sudoers: str) -> None:
    """A login user's signal does not reach it: it would hold dpkg's lock, or write on."""
    slow = f"sleep {10**9 + secrets.randbelow(10**9)}"
    with server(tmp_path, sudoers) as target:
        given = replace(target, sudo_password=PASSWORD)
        with open_fabric(given) as remote, pytest.raises(DeadlineExceeded):
            remote.root(f"{slow}; true", timeout_s=3)
        until(lambda: not running(slow))

        cancelled, raised = threading.Event(), []
        with open_fabric(given) as remote, runner.ended_by(cancelled, remote):

            def work() -> None:
                try:
                    remote.root(f"{slow}; true", timeout_s=60)
                except OakError as error:
                    raised.append(error)

            working = threading.Thread(target=work)
            working.start()
            until(lambda: running(slow))
            cancelled.set()
            working.join(60)
        assert isinstance(raised[0], Cancelled)
        until(lambda: not running(slow))


def test_with_the_password_the_firewall_is_seen(tmp_path: Path) -> None:
    """The first questions are asked without it, and would see no rule."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tmp_path.chmod(0o755)
    for name, rule in (("iptables", "-P $2 DROP"), ("nft", "")):
        file = folder / name
        file.write_text(f'#!/bin/sh\n[ "$(id -u)" = 0 ] && echo "{rule}"\n')
        file.chmod(0o755)
    # As on a host where these are in front of whatever this machine has.
    options = f"SetEnv PATH={folder}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    sudoers = f"{ASKS}\nDefaults:USER secure_path={folder}:/usr/bin:/bin:/usr/sbin:/sbin"
    with server(tmp_path / "ssh", sudoers, options) as target:
        assert not bootstrap.look(target).network.drops_input
        seen = bootstrap.look(replace(target, sudo_password=PASSWORD))
        assert seen.network.drops_input
        assert seen.network.forward_policy == "DROP"


def test_over_ipv6(tmp_path: Path) -> None:
    if not Path("/proc/net/if_inet6").read_text().strip():
        pytest.skip("no IPv6 here")
    with server(tmp_path, address="::1") as target, open_fabric(target) as remote:
        assert remote.facts.reached_address == "::1"
