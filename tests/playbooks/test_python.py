"""Pushing a Python to a real SSH server whose own will not do, and what is left of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oakctl.errors import OakError
from oakctl.model.views import StepEvent
from oakctl.remote import connection, facts, hostlock, playbook, python_cache, runner
from oakctl.remote.connection import FabricRemote
from tests import standalone_python
from tests.remote.servers import Machine, Machines
from tests.standalone_python import foreign, made, program

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := standalone_python.why_not():
        pytest.skip(reason)
    return standalone_python.build(tmp_path_factory.mktemp("standalone"))


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines.make(environment={"OAKCTL_SUPERVISOR": "plain:/nowhere"})


@pytest.fixture
def no_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the names that are looked for is one on the host."""
    monkeypatch.setattr(facts, "PYTHONS", ("python-of-nowhere",))


@contextmanager
def opened(machine: Machine) -> Iterator[FabricRemote]:
    with connection.open_fabric(machine.target(accept_new=True)) as remote:
        yield remote


def run(remote: FabricRemote) -> list[str]:
    """What was done."""
    told: list[StepEvent] = []
    steps = [*playbook.steps("python", {}), playbook.load("python").tidy()]
    runner.run(steps, remote, told.append, threading.Event())
    return [event.step for event in told if event.state == "done"]


def pythons(machine: Machine) -> set[str]:
    folder = machine.home / ".oakctl/python"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def in_another_folder(real: Path, folder: Path) -> Path:
    """The same in the layout of python-build-standalone, packed by another's hand."""
    subprocess.run(["mkdir", "-p", folder / "python"], check=True)
    subprocess.run(["tar", "-xzf", real, "-C", folder / "python"], check=True)
    (folder / "python/oakctl-python.json").unlink()
    out = folder / "other-install_only.tar.gz"
    subprocess.run(
        ["tar", "--owner=1000", "--group=1000", "-C", folder, "-czf", out, "python"], check=True
    )
    shutil.rmtree(folder / "python")
    return out


@pytest.mark.usefixtures("no_python")
def test_pushed_used_replaced_and_taken_away(
    machine: Machine, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = python_cache.add(real)
    with opened(machine) as remote:
        assert remote.facts.python == ""
        assert "is pushed" in remote.interpreter.reason
        with hostlock.host_lock(remote):  # it needs no Python there
            assert run(remote) == ["python: interpreter", "python: use it"]
        assert pythons(machine) == {first.folder, "current"}
        said = remote.run(f"{remote.python} -c 'import sys; print(sys.executable)'").stdout
        assert said.strip() == remote.python
        assert remote.python == f"{machine.home}/.oakctl/python/{first.folder}/bin/python3"
    with opened(machine) as remote:
        assert "was pushed" in remote.interpreter.reason
        assert run(remote) == []

    # Another one takes its place; the first stays for as long as something runs by it.
    program = machine.home / f".oakctl/python/{first.folder}/bin/python3"
    running = subprocess.Popen(
        [program, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    running.stdout.readline()
    second = python_cache.add(in_another_folder(real, tmp_path))
    assert second.root == "python"
    try:
        with opened(machine) as remote:
            assert run(remote) == ["python: interpreter", "python: use it"]
            assert pythons(machine) == {first.folder, second.folder, "current"}
    finally:
        running.communicate(b"\n", timeout=60)
    with opened(machine) as remote:
        assert run(remote) == ["python: unused ones"]
    assert pythons(machine) == {second.folder, "current"}

    # Without its archive it is found again by its link.
    for archive in (first, second):
        python_cache.remove(archive.sha256)
    with opened(machine) as remote:
        assert "pushed earlier" in remote.interpreter.reason
        assert run(remote) == []
        assert second.folder in remote.python

    # When the host has one of its own, nothing of ours is left.
    monkeypatch.setattr(facts, "PYTHONS", ("python3",))
    with opened(machine) as remote:
        assert "its own Python" in remote.interpreter.reason
        assert run(remote) == ["python: unused ones"]
    assert pythons(machine) == set()


@pytest.mark.usefixtures("no_python")
def test_what_a_run_left_that_was_cut_off_is_no_obstacle(machine: Machine, real: Path) -> None:
    archive = python_cache.add(real)
    folder = machine.home / ".oakctl/python"
    (folder / f".{archive.folder}.new/bin").mkdir(parents=True)
    (folder / f"{archive.folder}/bin").mkdir(parents=True)
    (folder / f"{archive.folder}/bin/python3").write_text("cut off")
    (folder / f"{archive.folder}.tar.gz").write_text("cut off")
    (folder / "current").symlink_to("gone")
    with opened(machine) as remote:
        assert run(remote) == ["python: interpreter", "python: use it"]
    assert pythons(machine) == {archive.folder, "current"}


@pytest.mark.usefixtures("no_python")
def test_others_may_run_it_and_change_nothing(machine: Machine, real: Path) -> None:
    """Instances may be users of their own."""
    archive = python_cache.add(real)
    with opened(machine) as remote:
        remote.run("umask 077")
        run(remote)
    folder = machine.home / ".oakctl/python"
    assert folder.stat().st_mode & 0o777 == 0o711
    for path in (folder / archive.folder).rglob("*"):
        mode = path.lstat().st_mode & 0o777
        if not path.is_symlink() and "__pycache__" not in path.parts:
            assert mode & 0o044 == 0o044, path
            assert mode & 0o022 == 0, path


@pytest.mark.usefixtures("no_python")
def test_one_that_does_not_run_there_leaves_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts are made up: the host says that it is of the archive's architecture."""
    archive = python_cache.add(foreign(tmp_path / "a.tar.gz"))
    monkeypatch.setattr(facts, "_architecture", lambda *signs: "aarch64")
    with opened(machine) as remote:
        with pytest.raises(OakError, match="cannot be used there") as failed:
            run(remote)
        assert failed.value.hint
        assert failed.value.details
    assert pythons(machine) <= {f"{archive.folder}.tar.gz"}


@pytest.mark.usefixtures("no_python")
def test_a_module_that_is_missing_is_found_before_it_is_used(
    machine: Machine, tmp_path: Path
) -> None:
    """Made up: a program that answers as a Python without `ssl` does, on its second start."""
    ours = os.uname().machine
    if ours not in standalone_python.MACHINES:
        pytest.skip("no such program is made up for this machine")
    mark = tmp_path / "started"
    script = (
        f"#!/bin/sh\n[ -e {mark} ] || {{ : >{mark}; echo 3.11.2; exit 0; }}\n"
        "echo \"No module named 'ssl'\" >&2; exit 1\n"
    )
    files = {
        "bin/python3": script.encode(),
        "libexec/python3.11": program(ours),
        "lib/python3.11/os.py": b"",
    }
    python_cache.add(made(tmp_path / "a.tar.gz", files))
    with opened(machine) as remote, pytest.raises(OakError) as failed:
        run(remote)
    assert any("No module named 'ssl'" in line for line in failed.value.details)
    assert not any(name.endswith(".new") or name == "current" for name in pythons(machine))


@pytest.mark.usefixtures("no_python")
def test_a_removal_takes_it_along_from_a_host_without_a_role(machine: Machine, real: Path) -> None:
    python_cache.add(real)
    with opened(machine) as remote:
        run(remote)
    with opened(machine) as remote:
        runner.run(playbook.steps("uninstall", {}), remote, print, threading.Event())
    assert list(machine.home.iterdir()) == []


@pytest.mark.usefixtures("no_python")
def test_without_an_archive_it_is_refused_before_anything_is_done(machine: Machine) -> None:
    with opened(machine) as remote, pytest.raises(OakError, match="no usable Python") as refused:
        remote.interpreter  # noqa: B018
    assert "oakctl host python add" in refused.value.hint
    assert not (machine.home / ".oakctl").exists()


@pytest.mark.usefixtures("no_python")
def test_one_that_was_pushed_and_is_damaged_needs_its_archive(machine: Machine, real: Path) -> None:
    archive = python_cache.add(real)
    with opened(machine) as remote:
        run(remote)
    (machine.home / f".oakctl/python/{archive.folder}/bin/python3").unlink()
    python_cache.remove(archive.sha256)
    with opened(machine) as remote, pytest.raises(OakError, match="its archive is not here"):
        run(remote)
    python_cache.add(real)
    with opened(machine) as remote:
        assert run(remote) == ["python: interpreter"]
