"""`oakctl secret` against a real root: where a value comes from, and that it never comes back."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from oakctl import paths
from oakctl.model.secrets import encoded

from .conftest import DEADLINE_S, ROOT, Oakctl


def stored(name: str) -> str:
    found: str = json.loads((paths.secrets_directory() / f"{name}.json").read_bytes())["value"]
    return found


def test_set_ls_and_rm(with_root: Oakctl, tmp_path: Path) -> None:
    done = with_root("secret", "set", "db-password", stdin="from-a-pipe\n")
    assert (done.code, done.out) == (0, "")
    assert done.err == "secret db-password is set\n"
    assert stored("db-password") == encoded(b"from-a-pipe")

    file = tmp_path / "tls.key"
    file.write_bytes(b"\0key\n")
    assert with_root("secret", "set", "tls.key", "--from-file", str(file)).code == 0
    assert stored("tls.key") == encoded(b"\0key\n")
    login = ("--registry", "GHCR.io", "--username", "me")
    assert with_root("secret", "set", "hub", *login, stdin="token").code == 0

    listed = with_root("secret", "ls", "-o", "json")
    found = {one["name"]: one for one in json.loads(listed.out)}
    assert list(found) == ["db-password", "hub", "tls.key"]
    assert found["hub"] | {"changed_at": 0} == {
        "name": "hub", "kind": "registry", "registry": "ghcr.io", "username": "me",
        "changed_at": 0, "services": [],
    }  # fmt: skip
    table = with_root("secret", "ls").out
    assert "me at ghcr.io" in table
    for value in (b"from-a-pipe", b"token"):
        for out in (listed.out, table):
            assert value.decode() not in out
            assert encoded(value) not in out

    assert with_root("secret", "rm", "hub").code == 2  # nobody can be asked
    gone = with_root("secret", "rm", "hub", "--yes")
    assert (gone.code, gone.err) == (0, "secret hub is forgotten\n")
    assert with_root("secret", "rm", "hub", "--yes").code == 3


def test_what_is_refused(with_root: Oakctl, tmp_path: Path) -> None:
    empty = with_root("secret", "set", "a", stdin="")
    assert empty.code == 2
    assert "nothing was given as its value" in empty.err
    absent = with_root("secret", "set", "a", "--from-file", str(tmp_path / "none"))
    assert absent.code == 3
    assert "there is no file" in absent.err
    half = with_root("secret", "set", "a", "--registry", "ghcr.io", stdin="x")
    assert half.code == 2
    assert "--username" in half.err
    # A value on the command line, where every process could read it, is no value.
    assert with_root("secret", "set", "a", "value-in-argv", stdin="x").code == 2
    assert with_root("secret", "ls", "-o", "name").out == ""


def test_on_a_terminal_it_is_typed_unseen(with_root: Oakctl) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    environment.pop("CI", None)
    with subprocess.Popen(
        [sys.executable, "-m", "oakctl", "secret", "set", "typed"],
        stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environment,
        start_new_session=True,
    ) as typing:  # fmt: skip
        os.close(slave)
        shown = b""
        deadline = time.monotonic() + DEADLINE_S
        while b"Value of secret typed: " not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 4096)
        os.write(master, b"unseen-value\n")
        while typing.poll() is None:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.2)[0]:
                try:
                    shown += os.read(master, 4096)
                except OSError:  # its end of the terminal is closed
                    break
        assert typing.wait(DEADLINE_S) == 0
    os.close(master)
    assert b"unseen-value" not in shown
    assert stored("typed") == encoded(b"unseen-value")
