"""Whether a host is the one it claims to be: the one rule for both SSH libraries.

A key that is stored is trusted, an unknown one is refused with its fingerprint or, when the
operator said so, stored once; a changed one is always refused. Does not belong here: how a
connection is made (`target`, `tunnel`).
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from oakctl import paths
from oakctl.errors import Unreachable


def default_files() -> tuple[Path, ...]:
    """oakctl's own store, the user's and the system's, in this order."""
    return (
        paths.known_hosts(),
        Path.home() / ".ssh" / "known_hosts",
        Path("/etc/ssh/ssh_known_hosts"),
    )


def line_for(address: str, port: int, key: asyncssh.SSHKey) -> str:
    """The line of a known_hosts file that trusts `key` for `address`."""
    text = key.export_public_key("openssh").decode().split()
    return f"{_pattern(address, port)} {text[0]} {text[1]}\n"


def _pattern(address: str, port: int) -> str:
    return address if port == 22 else f"[{address}]:{port}"


@dataclass(frozen=True)
class HostKeys:
    """Known host keys, read anew at each question: another process may have added one.

    `files` are read; `store` is the only one that is ever written.
    """

    files: tuple[Path, ...]
    store: Path
    accept_new: bool = False

    def trusted(self, address: str, port: int) -> list[asyncssh.SSHKey]:
        """Every key stored for `address`; raises Unreachable when a file cannot be read."""
        keys: list[asyncssh.SSHKey] = []
        for file in self.files:
            keys += [key for key in _matching(file, address, port) if key not in keys]
        return keys

    def admit(self, host: str, address: str, port: int, key: asyncssh.SSHKey) -> None:
        """Return when `key` may be trusted; raises Unreachable with fingerprints and the way out.

        Stores an unknown key when `accept_new` is set, never a changed one.
        """
        known = self.trusted(address, port)
        if key in known:
            return
        if known:
            raise self._changed(host, address, port, known, key)
        if not self.accept_new:
            raise Unreachable(
                f"{host}: the host key of {_pattern(address, port)} is not known: {describe(key)}",
                hint="compare the fingerprint with the machine's, then run this with --accept-new",
            )
        self._remember(line_for(address, port, key))

    def _changed(
        self, host: str, address: str, port: int, known: list[asyncssh.SSHKey], key: asyncssh.SSHKey
    ) -> Unreachable:
        holder = next((f for f in self.files if _matching(f, address, port)), self.store)
        pattern = _pattern(address, port)
        return Unreachable(
            f"{host}: the host key of {pattern} has changed: nothing was sent to it",
            hint=(
                "if the machine was set up anew: "
                f"ssh-keygen -f '{holder}' -R '{pattern}', then run this with --accept-new"
            ),
            details=(
                f"stored in {holder}: " + ", ".join(describe(k) for k in known),
                f"presented now: {describe(key)}",
            ),
        )

    def _remember(self, line: str) -> None:
        paths.private_directory(self.store.parent)
        descriptor = os.open(self.store, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if line not in self.store.read_text(encoding="utf-8").splitlines(keepends=True):
                file.write(line)


def describe(key: asyncssh.SSHKey) -> str:
    """Type and SHA256 fingerprint, as `ssh-keygen -l` prints it."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _matching(file: Path, address: str, port: int) -> list[asyncssh.SSHKey]:
    if not file.is_file():
        return []
    try:
        known = asyncssh.read_known_hosts(str(file))
        return list(known.match(address, "", port)[0])
    except (OSError, ValueError, asyncssh.KeyImportError) as error:
        raise Unreachable(f"{file} cannot be read: {error}", hint=f"correct {file}") from error
