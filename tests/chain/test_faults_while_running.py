"""Faults of a fleet that runs an application: a full disk at the fetch, Ctrl-C on what changes it.

Belongs here: what `test_faults` does not reach before there are instances. The seed of random
moments is printed; OAKCTL_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain.fleet import commands, processes_with
from tests.chain.test_faults import (
    LAB,
    WORKER_HOST,
    add,
    begin,
    clean,
    create,
    ended,
    lab,
    lab_is_down,
    oakctl,
    seeded,
    state,
)

__all__ = ["clean", "lab", "seeded"]  # fixtures

pytestmark = pytest.mark.slow

DISK_MB = 160

DESCRIPTOR = """
sla_version: v2.0
customerID: Admin
applications:
  - application_name: stay
    application_namespace: faults
    microservices:
      - microservice_name: Sleeper
        microservice_namespace: faults
        virtualization: process
        code: ./app
        memory: 16
        oakctl: {vcpus: 0.05, replicas: 2}
"""


@pytest.fixture
def application(tmp_path: Path) -> str:
    """The file of an application whose instances only stay."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "oakctl-artifact.toml").write_text('name = "sleeper"\ncommand = ["sleep", "100000"]\n')
    file = tmp_path / "stay.yaml"
    file.write_text(DESCRIPTOR)
    return str(file)


def instances() -> list[str]:
    """The names of the instances whose command runs, one for each process."""
    home = os.environ["HOME"]
    found = []
    for pid, environment in processes_with().items():
        ours = environment.get("HOME", "").startswith(home) and "OAKCTL_INSTANCE" in environment
        if ours and commands([pid]).get(pid, [""])[0].endswith("sleep"):
            found.append(environment["OAKCTL_INSTANCE"])
    return found


def cut(after_s: float, *arguments: str) -> int:
    """Ctrl-C after `after_s` seconds, unless the call has ended; its exit code."""
    call = begin(*arguments)
    try:
        call.wait(after_s)
    except subprocess.TimeoutExpired:
        call.send_signal(signal.SIGINT)
    code = ended(call).code
    # Before the interpreter is there the signal itself ends it, which a shell calls 130 too.
    return 130 if code == -signal.SIGINT else code


def test_interrupted_changes_take_effect_once(
    lab: list[int], seeded: random.Random, application: str
) -> None:
    oakctl(*create()).must(0)
    oakctl(*add()).must(0)
    scale = ("service", "scale", "Sleeper", "3", "--wait")
    delete = ("app", "delete", "stay.faults", "--yes")
    for call in (("app", "apply", "-f", application), scale):
        assert cut(seeded.uniform(0.5, 3.0), *call) in (0, 130)
        oakctl(*call).must(0)
    assert len(instances()) == len(set(instances())) == 3
    assert cut(seeded.uniform(0.5, 3.0), *delete) in (0, 130)
    assert oakctl(*delete).code in (0, 3)
    assert instances() == []
    assert cut(seeded.uniform(0.5, 4.0), "lab", "down", LAB) in (0, 130)
    lab_is_down(lab)


@pytest.fixture
def disk(lab: list[int]) -> Iterator[Path]:
    """The worker's home is a file system of its own."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    home = state() / "labs" / LAB / "homes" / WORKER_HOST
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", str(home)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


def fill(file: Path) -> None:
    """Let `file` take what is left of its disk."""
    with file.open("wb", buffering=0) as opened:
        while True:
            try:
                opened.write(bytes(65536))
            except OSError:
                return


def test_a_full_disk_when_an_artifact_is_fetched(disk: Path, application: str) -> None:
    oakctl(*create()).must(0)
    oakctl(*add()).must(0)
    fill(disk / "filler")
    apply = ("app", "apply", "-f", application, "--timeout")
    oakctl(*apply, "8s").must(5, "edge/w1", "space", "hint: oakctl explain")
    (disk / "filler").unlink()
    oakctl(*apply, "60s").must(0)
    assert len(instances()) == 2
