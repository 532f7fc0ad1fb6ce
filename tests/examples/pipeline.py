"""The AR application's stages as real processes on loopback addresses of their own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

APP = Path(__file__).parents[2] / "examples" / "ar" / "app"
DEADLINE_S = 60.0


def wait_for(what: str, holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Return once `holds` does; the error says what was waited for."""
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"waited {deadline_s:g} s for: {what}"
        time.sleep(0.05)


class Pipeline:
    """Starts, kills and asks stages; `close` ends all of them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        # An address per stage; tests that run at once have others.
        block = f"127.{random.randrange(2, 250)}.{random.randrange(1, 250)}"
        self.addresses = {
            name: f"{block}.{number}" for number, name in enumerate(("pre", "obj", "rec", "client"))
        }
        self.addresses["pre"] = f"{block}.9"
        self._folder = folder
        self._environment = {"AR_CHUNK_BYTES": "32000", "PYTHONDONTWRITEBYTECODE": "1"}
        self._environment |= environment
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *stages: str) -> None:
        """Start stages and wait until they answer."""
        for stage in stages:
            with (self._folder / f"{stage}.log").open("ab") as log:
                self.processes[stage] = subprocess.Popen(
                    [sys.executable, str(APP / "main.py"), stage],
                    env={
                        "PATH": os.environ["PATH"],
                        "OAKCTL_BIND": self.addresses[stage],
                        "OAKCTL_INSTANCE": f"ar.demo.{stage}.demo.instance.0",
                        **{
                            f"OAKCTL_ADDR_{name.upper()}": address
                            for name, address in self.addresses.items()
                        },
                        **self._environment,
                    },
                    stdout=log,
                    stderr=log,
                )
        for stage in stages:
            wait_for(f"{stage} to answer", lambda name=stage: self._answers(name))  # type: ignore[misc]

    def _answers(self, stage: str) -> bool:
        assert self.processes[stage].poll() is None, (self._folder / f"{stage}.log").read_text()
        try:
            self.metrics(stage)
        except urllib.error.URLError:
            return False
        return True

    def kill(self, stage: str) -> None:
        """SIGKILL."""
        process = self.processes.pop(stage)
        process.kill()
        process.wait(10)

    def get(self, stage: str, path: str) -> bytes:
        """A page of a stage's web server."""
        url = f"http://{self.addresses[stage]}:9100{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body

    def metrics(self, stage: str) -> dict[str, float]:
        """The numbers of a stage."""
        lines = self.get(stage, "/metrics").decode().splitlines()
        pairs = [line.split() for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def view(self) -> dict[str, Any]:
        """The client's picture."""
        found: dict[str, Any] = json.loads(self.get("client", "/view"))
        return found

    def close(self) -> None:
        """End all stages; each has to end cleanly."""
        for process in self.processes.values():
            process.terminate()
        for stage, process in self.processes.items():
            try:
                code = process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            assert code == 0, (stage, (self._folder / f"{stage}.log").read_text())
