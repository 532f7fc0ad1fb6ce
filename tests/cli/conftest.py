"""Running the program as a user does, and a root of its own for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90.0


@dataclass(frozen=True)
class Ended:
    """A call that has ended."""

    code: int
    out: str
    err: str


class Oakctl:
    """Calls `oakctl` with no terminal."""

    def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "oakctl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=DEADLINE_S,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def oakctl() -> Oakctl:
    return Oakctl()


@pytest.fixture
def with_root(oakctl: Oakctl, own_directories: Path) -> Iterator[Oakctl]:
    """`oakctl` with a root process of this test's directories, ended afterwards."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "oakctl", "serve", "--keep"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(own_directories / "serve.log").open("wb"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield oakctl
    finally:
        serving.terminate()
        assert serving.wait(DEADLINE_S) == 143
