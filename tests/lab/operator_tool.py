"""`python -m oakctl` as a person runs it, with a home of its own.

Belongs here: starting it, reading what it says, ending all that it started. Does not belong
here: hosts (`fleet_hosts`).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import oakctl
from tests.lab.fleet_hosts import Host

MARK = "OAKCTL_TEST_OPERATOR"
COMMAND_S = 1500
END_S = 20


class Operator:
    """One person at one machine: a home, a state directory, a root process."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.state = home / "state" / "oakctl"
        self._mark = secrets.token_hex(8)
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("XDG_", "OAKCTL_", "SSH_")) and key != "HOME"
        }
        self.environment: Mapping[str, str] = kept | {
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(Path(oakctl.__file__).parent.parent),
            "TERM": "dumb",
            MARK: self._mark,
        }
        self.cache = cache

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command; what it says can be read from its `stdout` while it runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "oakctl", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.home,
            start_new_session=True,
        )

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command to its end; with `check` it has to succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "oakctl", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            cwd=self.home,
        )
        assert not check or done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """What a command says with `-o json`."""
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def knows(self, host: Host) -> None:
        """Give `host` its name."""
        view = host.view
        where = f"{view.user}@{view.address}:{view.port}"
        self.run("host", "add", view.name, where, "-i", view.identity_file)

    def password_file(self, host: Host) -> tuple[str, ...]:
        """The arguments that give the password for sudo on `host`; none where it asks for none."""
        if not host.password:
            return ()
        file = self.home / f"password-{host.name}"
        file.write_text(f"{host.password}\n")
        file.chmod(0o600)
        return ("--sudo-password-file", str(file))

    def processes(self) -> list[int]:
        """Everything that runs of this operator: commands and the root."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self._is_ours(entry):
                found.append(int(entry.name))
        return found

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End all of them at once, and wait until they are gone."""
        deadline = time.monotonic() + END_S
        while left := self.processes():
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            assert time.monotonic() < deadline + END_S, f"{left} do not end"
            time.sleep(0.05)

    def _is_ours(self, entry: Path) -> bool:
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended meanwhile
            return False
        return f"{MARK}={self._mark}".encode() in environment and state not in "ZX"
