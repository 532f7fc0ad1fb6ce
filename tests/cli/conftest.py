"""Running the program as a user does, and a root of its own for a test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oakctl.client.process import running_root

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
        assert "oakctl is at fault" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def oakctl() -> Oakctl:
    return Oakctl()


async def answers(serving: subprocess.Popen[bytes]) -> None:
    """Wait until this very process is the root."""
    deadline = time.monotonic() + DEADLINE_S
    while (status := await running_root()) is None or status.pid != serving.pid:
        assert serving.poll() is None, "the root ended at once"
        assert time.monotonic() < deadline, "the root does not answer"
        await asyncio.sleep(0.05)


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
        # A command that finds no root starts one of its own, which would be in this one's way.
        asyncio.run(answers(serving))
        yield oakctl
    finally:
        serving.terminate()
        assert serving.wait(DEADLINE_S) == 143
