"""The first questions to a host: how the answer is read, and the script under a real shell."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oakctl.errors import OakError
from oakctl.remote import facts
from oakctl.remote.connection import open_fabric
from oakctl.remote.equipment import Listener
from oakctl.remote.facts import HostFacts
from tests.remote.servers import Machines

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))
NONCE = "0123"
TOOLS = (
    *("sh", "id", "tr", "uname", "od", "df", "awk", "cat"),
    *("date", "env", "sed", "ls", "tail", "nproc", "dpkg"),
)
GOOD = HostFacts(
    hostname="pi", python="/usr/bin/python3", home="/h", home_writable=True, disk_free_mb=500
)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_reading(case: Path) -> None:
    content = json.loads(case.read_text(encoding="utf-8"))
    told = json.loads(json.dumps(asdict(facts.parse(content["answer"], NONCE))))
    assert {key: told[key] for key in content["facts"]} == content["facts"]


@pytest.mark.parametrize("text", ["", "\nbegin 0123\nuser=pi\n", "\nbegin 9\nuser=pi\n\nend 9\n"])
def test_what_is_cut_off_is_said_to_be(text: str) -> None:
    with pytest.raises(OakError, match="cut off"):
        facts.parse(text, NONCE)


@given(st.text(), st.text(), st.text())
def test_no_answer_breaks_the_reading(before: str, body: str, after: str) -> None:
    facts.parse(f"{before}\nbegin {NONCE}\n{body}\n\nend {NONCE}\n{after}", NONCE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["python", "listen", "elf", "uid", "env.OAKCTL_X", "dpkg"]),
            st.text(st.characters(exclude_characters="\n\r"), max_size=50),
        )
    )
)
def test_no_value_breaks_the_reading(values: list[tuple[str, str]]) -> None:
    body = "".join(f"{key}={value}\n" for key, value in values)
    facts.parse(f"\nbegin {NONCE}\n{body}\nend {NONCE}\n", NONCE)


def test_who_has_the_port() -> None:
    other, every = Listener("127.4.0.1", 7), Listener("::", 8)
    assert replace(GOOD, listeners=(other,)).listener_on("127.6.0.1") is None
    assert replace(GOOD, listeners=(other,)).listener_on("127.4.0.1") == other
    assert replace(GOOD, listeners=(other,)).listener_on("") == other
    assert replace(GOOD, listeners=(other, every)).listener_on("127.6.0.1") == every
    assert GOOD.listener_on("") is None


def ask(shell: list[str], *pythons: str, **environment: str) -> HostFacts:
    done = subprocess.run(
        [*shell, "-s", NONCE, *pythons],
        input=facts.SCRIPT.encode(),
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return facts.parse(done.stdout.decode(errors="replace"), NONCE)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with what the script uses and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(found)
    return folder


@pytest.fixture(params=[["dash"], ["bash", "--posix"], ["busybox", "sh"], ["sh"]], ids=str)
def shell(request: pytest.FixtureRequest) -> list[str]:
    found = shutil.which(request.param[0])
    if found is None:
        pytest.skip(f"no {request.param[0]}")
    return [found, *request.param[1:]]


def test_every_shell_gives_the_same_answer(shell: list[str], bare: Path) -> None:
    found = ask(shell, "python3", OAKCTL_LAB="x", OAKCTL_SUPERVISOR="plain:/s")
    assert (found.uid, found.home) == (os.getuid(), os.environ["HOME"])
    assert found.architecture == os.uname().machine
    assert found.environment == {"OAKCTL_LAB": "x", "OAKCTL_SUPERVISOR": "plain:/s"}
    assert found.supervisor == "plain:/s"
    assert found.python.startswith("/")
    assert found.cpus > 0
    assert found.memory_mb > 0
    assert found.disk_free_mb > 0
    assert found.home_writable
    assert found.clock > 1.7e9
    assert ask(shell, "python3", PATH=str(bare)).python_reason == "python3 is missing"


def fake(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_old_and_broken_pythons_are_passed_over(shell: list[str], bare: Path) -> None:
    fake(bare, "python3", r"printf '/old/python3\t3.9.2\t\n'")
    fake(bare, "python3.11", r"echo 'Fatal Python error'; exit 1")
    names = ("python3", "python3.11", "python3.12")
    reason = ask(shell, *names, PATH=str(bare)).python_reason
    assert "3.9.2, too old" in reason
    assert "python3.11 does not run: Fatal Python error" in reason
    fake(bare, "python3.12", r"printf '/good\t3.12.1\t\n'")
    found = ask(shell, *names, PATH=str(bare))
    assert (found.python, found.python_version) == ("/good", "3.12.1")


@pytest.fixture
def listening() -> Iterator[str]:
    """An address with a listener of ours on the bus's port."""
    with socket.socket() as server:
        server.bind(("127.253.7.1", 4222))
        server.listen()
        yield "127.253.7.1"


def test_the_process_on_the_port_is_named(shell: list[str], listening: str) -> None:
    found = ask(shell).listener_on(listening)
    assert found is not None
    assert (found.address, found.pid) == (listening, os.getpid())
    assert "python" in found.command


def test_a_host_without_python_is_asked_over_ssh(
    machines: Machines, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "PYTHONS", ("python3",))
    machine = machines.make(environment={"PATH": str(bare), "OAKCTL_LAB": "l"}, noise="echo hi; ")
    with open_fabric(machine.target(accept_new=True)) as remote:
        assert remote.facts.python_reason == "python3 is missing"
        assert remote.facts.environment["OAKCTL_LAB"] == "l"
        assert str(remote.layout.prefix) == f"{machine.home}/.oakctl"
