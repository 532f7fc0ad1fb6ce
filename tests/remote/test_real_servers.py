"""Servers and accounts as they are found: shells, forced commands, limits, doas, slow sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.errors import Unreachable
from oakctl.remote import facts, sessions
from oakctl.remote.connection import open_fabric
from oakctl.remote.privilege import WrongPassword
from tests.remote import real_sshd
from tests.remote.real_sshd import PASSWORD, server
from tests.remote.test_real_sshd import ASKS, NONE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-"),
]
DOAS = Path("/etc/doas.conf")


@pytest.mark.parametrize("shell", ["tcsh", "fish", "dash", "zsh"])
@pytest.mark.parametrize("sudoers", [NONE, ASKS], ids=["sudo", "password"])
def test_other_login_shells(tmp_path: Path, shell: str, sudoers: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} here")
    with (
        server(tmp_path, sudoers, shell=path) as target,
        open_fabric(replace(target, sudo_password=PASSWORD)) as remote,
    ):
        assert remote.facts.user == target.user
        done = remote.root("id -u\nprintf 'a\\\\b %s\\n' '!!'; cat", stdin=b"in\n")
        assert done.stdout == "0\na\\b !!\nin\n"
        remote.put(f"{remote.facts.home}/a file", b"\x00content\n")
        assert remote.read(f"{remote.facts.home}/a file") == b"\x00content\n"


@pytest.mark.parametrize(
    ("options", "shell", "said"),
    [
        ("ForceCommand echo only backups here", "/bin/bash", "only backups here"),
        ("", "/usr/sbin/nologin", "not available"),
    ],
    ids=["ForceCommand", "nologin"],
)
def test_an_account_that_runs_no_commands(
    tmp_path: Path, options: str, shell: str, said: str
) -> None:
    with (
        server(tmp_path, options=options, shell=shell) as target,
        pytest.raises(Unreachable, match="runs no commands") as caught,
    ):
        open_fabric(target)
    assert said in " ".join(caught.value.details)
    assert "ssh -p" in caught.value.hint


def test_a_banner_is_no_answer(tmp_path: Path) -> None:
    banner = tmp_path / "banner"
    banner.write_text("begin\nuid=0\nAuthorized use only\n" * 20)
    with server(tmp_path, options=f"Banner {banner}") as target, open_fabric(target) as remote:
        assert remote.as_login("echo yes").stdout == "yes\n"


@pytest.mark.parametrize("most", [1, 2, 3])
def test_how_many_sessions_a_server_grants_is_learned(tmp_path: Path, most: int) -> None:
    with server(tmp_path, options=f"MaxSessions {most}") as target, open_fabric(target) as remote:
        answers: list[str] = []

        def ask(number: int) -> None:
            answers.append(remote.as_login(f"sleep 0.2; echo {number}").stdout)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(answers) == [f"{number}\n" for number in range(9)]
        assert 1 <= sessions.granted(target.where) <= most


def test_p15_many_logins_at_once_where_few_are_granted(tmp_path: Path) -> None:
    with server(tmp_path, options="MaxStartups 2:100:2") as target:
        with open_fabric(target):  # its key is known from here on
            pass
        answers: list[str] = []

        def log_in() -> None:
            with open_fabric(replace(target, accept_new=False)) as remote:
                answers.append(remote.facts.user)

        threads = [threading.Thread(target=log_in) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert answers == [target.user] * 8


@pytest.fixture
def doas() -> Iterator[None]:
    if not shutil.which("doas") or DOAS.exists():
        pytest.skip("no doas, or one that somebody uses")
    # `sudo` comes first where both are there; this one is not to be found.
    yield
    DOAS.unlink(missing_ok=True)


def without_sudo(folder: Path) -> str:
    """A path on which everything is but sudo."""
    tools = folder / "tools"
    tools.mkdir()
    for place in ("/usr/bin", "/usr/sbin"):
        for tool in Path(place).iterdir():
            link = tools / tool.name
            if tool.name != "sudo" and not link.is_symlink():
                link.symlink_to(tool)
    os.chmod(folder, 0o755)  # noqa: PTH101
    return str(tools)


@pytest.mark.parametrize("rule", ["permit nopass", "permit"])
def test_doas_alone(rule: str, doas: None) -> None:
    folder = Path("/opt") / f"oakctl-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        options = f"SetEnv PATH={without_sudo(folder)}"
        with server(folder / "s", options=options) as target:
            DOAS.write_text(f"{rule} {target.user}\n")
            DOAS.chmod(0o400)
            with open_fabric(target) as remote:
                if rule == "permit":
                    assert remote.facts.privilege == "doas-password"
                    with pytest.raises(Exception, match="doas asks for a password"):
                        remote.root("true")
                else:
                    assert remote.facts.privilege == "doas"
                    assert remote.root("id -u; cat", stdin=b"x\n").stdout == "0\nx\n"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("sudoers", [NONE, ASKS], ids=["no password", "password"])
def test_a_sudo_that_takes_its_time(sudoers: str) -> None:
    """As where it asks a directory server that is far away: longer than other questions may."""
    folder = Path("/opt") / f"oakctl-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        slow = folder / "sudo"
        # The first question is answered late, later ones from a cache.
        slow.write_text(
            f'#!/bin/sh\nmkdir {folder}/w/asked 2>/dev/null && sleep 6\nexec /usr/bin/sudo "$@"\n'
        )
        (folder / "w").mkdir()
        (folder / "w").chmod(0o777)
        slow.chmod(0o755)
        options = f"SetEnv PATH={folder}:/usr/bin:/bin:/usr/sbin:/sbin"
        with server(folder / "s", sudoers, options=options) as target:
            given = replace(target, sudo_password=PASSWORD)
            with open_fabric(given) as remote:
                asks = sudoers == ASKS
                assert remote.facts.privilege == ("sudo-password" if asks else "sudo")
                assert remote.root("id -u").stdout == "0\n"
    finally:
        shutil.rmtree(folder)


def test_the_questions_fit_through_a_login_shell() -> None:
    """An argument of more than 128 KiB is refused by Linux."""
    from oakctl.remote.questions import SCRIPT
    from oakctl.remote.shells import sh

    assert len(sh(SCRIPT)) < 60_000
    assert facts.OLDEST_PYTHON
    assert subprocess.run(["sh", "-n", "-c", SCRIPT], check=True).returncode == 0


SUDO_RS = """#!/usr/bin/python3
# As sudo-rs 0.2.5 was seen to be: it takes all that is there for one password, an end of its input
# for another one, and has a prompt of its own around ours.
import os, sys, time
options = sys.argv[1:]
if "-p" not in options:
    print("sudo-rs: interactive authentication is required", file=sys.stderr)
    sys.exit(1)
asking, command = options[options.index("-p") + 1], options[options.index("--") + 1 :]
for _ in range(3):
    print(f"[sudo: {asking}] Password: ", end="", file=sys.stderr, flush=True)
    taken = os.read(0, 4096)
    with open("LOG", "a") as log:
        log.write("tried\\n")
    if taken.split(b"\\n")[0] == b"PASSWORD":
        os.execv("/usr/bin/sudo", ["sudo", "-n", "--", *command])
    time.sleep(0.3)
    print("sudo: Authentication failed, try again.", file=sys.stderr)
sys.exit(1)
"""


@pytest.mark.parametrize("password", [PASSWORD, "wrong"], ids=["right", "wrong"])
def test_a_sudo_that_takes_all_there_is_for_the_password(password: str) -> None:
    folder = Path("/opt") / f"oakctl-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        log = folder / "w" / "log"
        log.parent.mkdir()
        log.parent.chmod(0o777)
        sudo = folder / "sudo"
        sudo.write_text(SUDO_RS.replace("LOG", str(log)).replace("PASSWORD", PASSWORD))
        sudo.chmod(0o755)
        options = f"SetEnv PATH={folder}:/usr/bin:/bin:/usr/sbin:/sbin"
        with (
            server(folder / "s", NONE, options=options) as target,
            open_fabric(replace(target, sudo_password=password)) as remote,
        ):
            assert remote.facts.privilege == "sudo-password"
            if password == PASSWORD:
                assert remote.root("id -u; cat", stdin=b"a\nb\n").stdout == "0\na\nb\n"
                channel = remote.attend("echo held; cat")
                channel.close()
            else:
                with pytest.raises(WrongPassword, match="it was tried once"):
                    remote.root("true")
                assert log.read_text() == "tried\n"
    finally:
        shutil.rmtree(folder)
