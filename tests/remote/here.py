"""This machine in place of a host: real shells and files, and a connection that ends half-way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oakctl.model.config import HostLayout
from oakctl.remote.residence import Residence
from oakctl.remote.step import CommandFailed, Completed


class Here:
    """What a playbook asks of a host. Of a command's input the first `arrives` bytes arrive.

    `programs` is a folder whose programs are found before this machine's.
    """

    name = "pi"

    def __init__(self, folder: Path, *, as_root: bool = True) -> None:
        self.prefix = folder / "prefix"
        self.prefix.mkdir(exist_ok=True)
        self.programs = folder / "programs"
        self.programs.mkdir(exist_ok=True)
        self.layout = HostLayout(str(self.prefix))
        self.residence = Residence("systemd", str(self.prefix), as_root, "because")
        self.facts: Any = SimpleNamespace(user="anna", system="Debian", python="")
        self.arrives: int | None = None
        self.commands: list[str] = []

    def put_program(self, name: str, script: str) -> None:
        """A program that stands for one of a host's."""
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0,
            check: bool = True) -> Completed:  # fmt: skip
        """See `Remote`."""
        self.commands.append(command)
        path = f"{self.programs}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command],
            input=stdin[: self.arrives],
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "PATH": path},
        )
        said = Completed(
            command,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        if check and said.exit_code != 0:
            raise CommandFailed(said)
        return said

    root = as_login = run

    def put(self, path: str, content: bytes, **_: Any) -> None:
        """See `Remote`."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)

    def read(self, path: str) -> bytes | None:
        """See `Remote`."""
        return Path(path).read_bytes() if Path(path).exists() else None

    def tell(self, message: str, done: int = 0, total: int = 0) -> None:
        """See `Remote`."""
