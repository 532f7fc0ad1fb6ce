"""The join program: whole in one file, runs in a bare interpreter, and says what is wrong."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from oakctl.model import wire
from oakctl.model.tokens import JoinFile
from oakctl.remote import bundle, join_archive
from oakctl.remote.local import LocalRemote
from tests.bus_fixture import Bus, free_port, make_certificates
from tests.remote.test_bundle import OPERATOR_SIDE


@pytest.fixture
def program(tmp_path: Path) -> Path:
    make_certificates(tmp_path, "edge")
    authority = (tmp_path / "ca.pem").read_text()
    told = JoinFile("ab12", "edge", "w7", "planted-token", "127.0.0.1", free_port(), authority)
    path = tmp_path / "owner" / "join.pyz"
    path.parent.mkdir()
    path.write_bytes(join_archive.build(told))
    return path


def run(program: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    home = program.parent / "home"
    home.mkdir(exist_ok=True)
    # The lab's supervisor, so that no test ever speaks to this machine's own.
    plain = {"HOME": str(home), "TMPDIR": str(program.parent), "OAKCTL_SUPERVISOR": "plain:/none"}
    return subprocess.run(
        [sys.executable, "-I", "-S", str(program), *words],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **plain, **environment},
    )  # fmt: skip


def left(program: Path) -> set[str]:
    return {path.name for path in program.parent.rglob("*")} - {"home", "join.pyz"}


def test_it_carries_the_node_archive_as_it_is_and_says_for_whom_it_is(program: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(program.read_bytes())) as archive:
        carried = archive.read("oakctl/_data/oakctl-node.pyz")
    assert carried == bundle.build().read_bytes()
    done = run(program, "--help")
    assert done.returncode == 0, done.stderr
    assert "worker w7 of oakctl cluster edge" in done.stdout
    assert left(program) == set()


def test_it_loads_nothing_of_the_operators_side(program: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    with zipfile.ZipFile(program) as archive:
        archive.extractall(lib)
    with zipfile.ZipFile(lib / "oakctl/_data/oakctl-node.pyz") as archive:
        archive.extractall(lib)
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import oakctl.remote.joining\n"
        "from oakctl.remote import playbook\n"
        f"for name in {join_archive.PLAYBOOKS}: playbook.load(name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(lib)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not OPERATOR_SIDE & set(done.stdout.split())


def test_without_a_bus_it_says_so_and_leaves_nothing(program: Path) -> None:
    done = run(program)
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert "does not answer at 127.0.0.1:" in done.stdout
    assert "Connect call failed" in done.stdout
    assert "planted-token" not in done.stdout + done.stderr
    assert left(program) == set()


def test_who_is_not_the_cluster_is_told_nothing(program: Path, tmp_path: Path) -> None:
    bus = Bus.create(tmp_path / "other")  # another authority
    bus.start()
    try:
        with zipfile.ZipFile(program) as archive:
            told = wire.decode(archive.read(join_archive.TOLD), JoinFile)
        program.write_bytes(join_archive.build(replace(told, bus_port=bus.port)))
        done = run(program)
    finally:
        bus.kill()
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert "does not prove to be cluster edge" in done.stdout
    assert left(program) == set()


def test_an_unknown_token_is_refused_in_words(program: Path, tmp_path: Path) -> None:
    bus = Bus.create(tmp_path / "edge")
    bus.start()
    try:
        with zipfile.ZipFile(program) as archive:
            told = wire.decode(archive.read(join_archive.TOLD), JoinFile)
        authority = Path(bus.layout.etc("bus/ca.pem")).read_text()
        told = replace(told, bus_port=bus.port, ca_pem=authority)
        program.write_bytes(join_archive.build(told))
        done = run(program)
    finally:
        bus.kill()
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "does not know this token (any more)" in done.stdout
    assert left(program) == set()


def test_nothing_is_taken_away_where_nothing_was_made(program: Path) -> None:
    done = run(program, "--remove")
    assert (done.returncode, done.stdout) == (0, "nothing to do: this machine is no worker\n")
    assert left(program) == set()


def test_this_machine_is_a_host_to_playbooks(tmp_path: Path) -> None:
    here = LocalRemote(("127.0.0.1", 9), "sudo python3 join.pyz")
    assert here.name == socket.gethostname()
    assert here.run("cat; exit 3", stdin=b"told", check=False).stdout == "told"
    path = tmp_path / "a" / "b"
    assert here.read(str(path)) is None
    here.put(str(path), b"\xff\x00", mode=0o640)
    assert here.read(str(path)) == b"\xff\x00"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert here.facts.reached_address == "127.0.0.1"
    assert Path(here.interpreter.own).is_absolute()
