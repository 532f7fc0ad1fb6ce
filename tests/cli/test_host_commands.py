"""`oakctl host show | run | ssh | trust` against real servers, and questions on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from oakctl import paths
from oakctl.remote.target import Target
from tests.remote import real_sshd
from tests.remote.real_sshd import PASSWORD, server

from .conftest import ROOT, Ended, Oakctl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(real_sshd.why_not()), reason=real_sshd.why_not() or "-"),
]
DEADLINE_S = 90.0
PASSPHRASE = "open-sesame-7f3a"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "operator"
    (made / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return made


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Target]:
    with server(tmp_path / "s", "USER ALL=(ALL) PASSWD: ALL") as target:
        yield target


def add(oakctl: Oakctl, name: str, target: Target) -> None:
    where = f"{target.user}@{target.address}:{target.port}"
    assert oakctl("host", "add", name, where, "-i", target.identity_file).code == 0


def on_terminal(answers: list[tuple[str, str]], *arguments: str) -> Ended:
    """Call `oakctl` on a terminal of its own; each answer is typed when its question is there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.pop("CI", None)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "oakctl", *arguments])
    shown, deadline = "", time.monotonic() + DEADLINE_S
    unanswered = 0
    while True:
        assert time.monotonic() < deadline, shown
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the terminal's other end is closed
            break
        shown += piece
        if answers and answers[0][0] in shown[unanswered:]:
            unanswered = len(shown)
            os.write(terminal, f"{answers.pop(0)[1]}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert not answers, shown
    return Ended(os.waitstatus_to_exitcode(status), shown, "")


def test_a_key_is_trusted_by_its_fingerprint_and_a_changed_one_anew(
    home: Path, with_root: Oakctl, there: Target
) -> None:
    add(with_root, "pi", there)
    refused = with_root("host", "run", "pi", "--", "true")
    assert refused.code == 4
    assert "is not known" in refused.err
    asked = with_root("host", "trust", "pi")
    assert asked.code == 2
    fingerprint = asked.err.split("--fingerprint ")[1].split()[0]
    assert with_root("host", "trust", "pi", "--fingerprint", "SHA256:other").code == 1
    assert not paths.known_hosts().exists()
    assert with_root("host", "trust", "pi", "--fingerprint", fingerprint).code == 0
    assert with_root("host", "run", "pi", "--", "echo", "a  b").out == "a  b\n"
    # Set up anew: another key than the one that is stored.
    old = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    paths.known_hosts().write_text(f"[{there.address}]:{there.port} {old}")
    changed = with_root("host", "run", "pi", "--", "true")
    assert changed.err.count("SHA256:") == 2
    assert "hint: if the machine was set up anew: oakctl host trust pi" in changed.err
    said_no = on_terminal([("type pi: ", "y")], "host", "trust", "pi")
    assert said_no.code == 1
    assert "until now it was ssh-ed25519 SHA256:" in said_no.out
    assert on_terminal([("type pi: ", "pi")], "host", "trust", "pi").code == 0
    assert with_root("host", "run", "pi", "--", "true").code == 0


def test_run_on_several_hosts(home: Path, with_root: Oakctl, there: Target) -> None:
    for name in ("pi-1", "pi-2"):
        add(with_root, name, there)
    on_both = ("host", "run", "pi-1", "pi-2", "--accept-new")
    done = with_root(*on_both, "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.code == 3
    assert sorted(done.out.splitlines()) == ["pi-1: out", "pi-2: out"]
    assert sorted(done.err.splitlines()) == ["pi-1: err", "pi-2: err"]
    password = home / "password"
    password.write_text(f"{PASSWORD}\n")
    given = ("--sudo", "--sudo-password-file", str(password), "-o", "json")
    found = json.loads(with_root(*on_both, *given, "--", "id", "-u").out)
    assert [(each["host"], each["stdout"], each["exit_code"]) for each in found] == [
        ("pi-1", "0\n", 0),
        ("pi-2", "0\n", 0),
    ]
    late = with_root("host", "run", "pi-1", "--timeout", "1s", "--", "sleep", "60")
    assert (late.code, "did not end within 1 s" in late.err) == (5, True)
    assert with_root("host", "run", "pi-1", "true").code == 2
    assert with_root("host", "run", "pi-1", "nobody", "--", "true").code == 3
    assert with_root("host", "run", "--all", "--", "hostname").out.count("pi-1: ") == 1


def test_one_prompt_for_a_passphrase_and_it_is_written_nowhere(
    home: Path, with_root: Oakctl, there: Target, own_directories: Path
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", there.identity_file],
        check=True,
    )
    for name in ("pi-1", "pi-2"):
        add(with_root, name, there)
    refused = with_root("host", "run", "pi-1", "--accept-new", "--", "true")
    assert refused.code == 4
    assert "is protected by a passphrase" in refused.err
    assert f"ssh-add {there.identity_file}" in refused.err
    question = f"Passphrase of the key {there.identity_file}: "
    wrong = on_terminal([(question, "wrong")] * 3, "host", "run", "pi-1", "--", "true")
    assert wrong.code == 1
    assert wrong.out.count("does not open") == 3
    done = on_terminal(
        [(question, "wrong"), (question, PASSPHRASE)],
        *("host", "run", "pi-1", "pi-2", "--accept-new", "--", "echo", "yes"),
    )
    assert done.code == 0, done.out
    assert "pi-1: yes" in done.out
    assert "pi-2: yes" in done.out
    assert PASSPHRASE not in done.out
    # Known from now on, and nowhere to be found.
    assert with_root("host", "run", "pi-2", "--", "echo", "again").out == "again\n"
    assert with_root("host", "check", "pi-1").code in (0, 1)
    for file in own_directories.rglob("*"):
        if file.is_file():
            assert PASSPHRASE.encode() not in file.read_bytes(), file
    seen = subprocess.run(["ps", "axwwe", "-o", "args"], capture_output=True, check=True)
    assert PASSPHRASE.encode() not in seen.stdout


def test_how_a_host_is_reached_is_shown(home: Path, with_root: Oakctl, there: Target) -> None:
    (home / ".ssh" / "config").write_text(
        f"Host garden\n  HostName {there.address}\n  Port {there.port}\n  User {there.user}\n"
        f"  IdentityFile {there.identity_file}\n  Ciphers aes128-ctr\n"
    )
    assert with_root("host", "add", "pi", "garden").code == 0
    shown = with_root("host", "show", "pi")
    assert f"Port:         {there.port} (ssh_config)" in shown.out
    assert "Not honoured: ciphers aes128-ctr" in shown.out
    machine = json.loads(with_root("host", "show", "pi", "-o", "json").out)["machines"][0]
    assert (machine["address"], machine["user"]) == (there.address, there.user)
    assert with_root("host", "run", "pi", "--accept-new", "--", "id", "-un").out == (
        f"{there.user}\n"
    )
    assert with_root("host", "show", "nobody").code == 3


def test_ssh_checks_every_key_as_we_do(
    home: Path, with_root: Oakctl, there: Target, tmp_path: Path
) -> None:
    with server(tmp_path / "gate") as gate:
        jump = f"{gate.user}@{gate.address}:{gate.port}"
        allowed = Path(f"/home/{gate.user}/authorized")
        allowed.write_text(Path(f"{there.identity_file}.pub").read_text())
        where = f"{there.user}@{there.address}:{there.port}"
        added = with_root("host", "add", "pi", where, "-i", there.identity_file, "--jump", jump)
        assert added.code == 0
        command = ("host", "ssh", "pi", "--", "echo", "two  words")
        assert "Host key verification failed" in with_root(*command).err
        # First the jump host's, then the host's.
        first = with_root("host", "trust", "pi").err.split("--fingerprint ")[1].split()[0]
        second = with_root("host", "trust", "pi", "--fingerprint", first)
        assert second.code == 1
        fingerprint = second.err.rpartition("ssh-ed25519 ")[2].partition(",")[0]
        assert with_root("host", "trust", "pi", "--fingerprint", fingerprint).code == 0
        done = with_root(*command)
        assert (done.code, done.out) == (0, "two  words\n")
        assert with_root("host", "ssh", "pi", "--", "exit", "7").code == 7
        assert with_root("host", "run", "pi", "--", "id", "-un").out == f"{there.user}\n"
