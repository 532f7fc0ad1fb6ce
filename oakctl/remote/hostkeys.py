"""Whether a host is the one it claims to be: the one rule for both SSH libraries.

A key that is stored is trusted, an unknown one is refused with its fingerprint or, when the
operator said so, stored once; a changed or revoked one is always refused. What oakctl itself has
stored for a host goes before what other files say of it, so that a machine that was set up anew
can be trusted without writing to a file of the user's. Does not belong here: how a connection is
made (`dialling`, `tunnel`), whom to ask (`keyscan`).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import asyncssh

from oakctl import paths
from oakctl.errors import OakError, Unreachable

# What both libraries are told to accept, best first, so that a host shows both the same key.
ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
KeyState = Literal["trusted", "unknown", "changed", "revoked"]
RSA = ("rsa-sha2-512", "rsa-sha2-256")


def default_files() -> tuple[Path, ...]:
    """oakctl's own store, the user's and the system's, in this order."""
    ssh = Path.home() / ".ssh"
    return (
        paths.known_hosts(),
        ssh / "known_hosts",
        ssh / "known_hosts2",
        Path("/etc/ssh/ssh_known_hosts"),
    )


def line_for(address: str, port: int, key: asyncssh.SSHKey) -> str:
    """The line of a known_hosts file that trusts `key` for `address`."""
    text = key.export_public_key("openssh").decode().split()
    return f"{pattern(address, port)} {text[0]} {text[1]}\n"


def pattern(address: str, port: int) -> str:
    """How a known_hosts file names a host: the bare address only on port 22."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"


def describe(key: asyncssh.SSHKey) -> str:
    """Type and SHA256 fingerprint, as `ssh-keygen -l` prints it."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def forget(address: str, port: int) -> bool:
    """Take a host's keys out of oakctl's own store; whether there were any. Raises Unreachable."""
    store = paths.known_hosts()
    if not _matching(store, address, port).trusted:
        return False
    with _locked(store):
        _replace(store, _without(store, address, port))
    return True


def trust(address: str, port: int, key: asyncssh.SSHKey) -> None:
    """Store `key` as the only one of the host in oakctl's own store. Raises Unreachable."""
    store = paths.known_hosts()
    with _locked(store):
        _replace(store, _without(store, address, port) + line_for(address, port, key))


def _without(store: Path, address: str, port: int) -> str:
    """The store's text without the lines, hashed or not, that trust a key for the host."""
    if not store.exists():
        return ""
    lines = store.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not _stored(line, address, port).trusted]
    return "".join(f"{line}\n" for line in kept)


@dataclass(frozen=True)
class Stored:
    """What one file says of one host."""

    trusted: tuple[asyncssh.SSHKey, ...] = ()
    revoked: tuple[asyncssh.SSHKey, ...] = ()


@dataclass(frozen=True)
class HostKeys:
    """Known host keys, read anew at each question: another process may have added one.

    `files` are read; `store` is the only one that is ever written, and is read as well.
    """

    files: tuple[Path, ...]
    store: Path
    accept_new: bool = False

    def trusted(self, address: str, port: int) -> list[asyncssh.SSHKey]:
        """Every key stored for `address`; raises Unreachable when a file cannot be read."""
        found = [_matching(file, address, port) for file in self.holders(address, port)]
        return list(dict.fromkeys(key for stored in found for key in stored.trusted))

    def holders(self, address: str, port: int) -> tuple[Path, ...]:
        """The files that have a say: our own where it knows the host, else all that do."""
        knowing = [f for f in self._all_files() if _matching(f, address, port).trusted]
        return tuple(knowing[:1] if self.store in knowing else knowing)

    def state(self, address: str, port: int, key: asyncssh.SSHKey) -> KeyState:
        """What is to be thought of a key that a host presents; raises Unreachable."""
        if self._revoking(address, port, key) is not None:
            return "revoked"
        known = self.trusted(address, port)
        return "unknown" if not known else "trusted" if key in known else "changed"

    def algorithms(self, address: str, port: int) -> tuple[str, ...]:
        """What to ask the host for: types that are stored first, so that one of them is shown.

        The others follow: a host that has lost its stored type is to be called changed, which
        it could not be when no type were agreed on.
        """
        kinds = {key.get_algorithm() for key in self.trusted(address, port)}
        stored = [
            name for name in ALGORITHMS if name in kinds or (name in RSA and "ssh-rsa" in kinds)
        ]
        return (*stored, *(name for name in ALGORITHMS if name not in stored))

    def admit(
        self, host: str, address: str, port: int, key: asyncssh.SSHKey, known_as: str = ""
    ) -> None:
        """Return when `key` may be trusted; raises Unreachable with fingerprints and the way out.

        Stores an unknown key when `accept_new` is set, never a changed one. `known_as` is the
        name by which the operator calls the host, or the one behind it.
        """
        known_as = known_as or host
        if self._known(host, address, port, key, known_as):
            return
        if not self.accept_new:
            raise Unreachable(
                f"host key of {host} ({address}:{port}) is not known: {describe(key)}",
                hint="compare the fingerprint with the machine's, then run this with --accept-new"
                f", or: oakctl host trust {known_as}",
            )
        with _locked(self.store):
            # Between the question and the lock another process may have stored another key.
            if not self._known(host, address, port, key, known_as):
                old = self.store.read_text(encoding="utf-8") if self.store.exists() else ""
                ended = old if not old or old.endswith("\n") else old + "\n"
                _replace(self.store, ended + line_for(address, port, key))

    def _all_files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.store, *self.files)))

    def _revoking(self, address: str, port: int, key: asyncssh.SSHKey) -> Path | None:
        """The file that revokes the key, if one does."""
        files = self._all_files()
        return next((f for f in files if key in _matching(f, address, port).revoked), None)

    def _known(
        self, host: str, address: str, port: int, key: asyncssh.SSHKey, known_as: str
    ) -> bool:
        """Whether the key is stored; raises Unreachable when it is revoked or another is."""
        if file := self._revoking(address, port, key):
            raise Unreachable(
                f"host key of {host} ({address}:{port}) is revoked in {file}: {describe(key)}",
                hint="whoever revoked it knows why; give the machine a new key: "
                "rm /etc/ssh/ssh_host_*; ssh-keygen -A",
            )
        known = self.trusted(address, port)
        if known and key not in known:
            raise Unreachable(
                f"host key of {host} ({address}:{port}) has changed: "
                f"stored {', '.join(describe(k) for k in known)}, presented {describe(key)}",
                hint=f"if the machine was set up anew: oakctl host trust {known_as}",
                details=(
                    "it may be another machine that answers: nothing was sent to it",
                    *(f"the old key is stored in {f}" for f in self.holders(address, port)),
                ),
            )
        return bool(known)


def _matching(file: Path, address: str, port: int) -> Stored:
    if not file.is_file():
        return Stored()
    try:
        return _stored(file.read_text(encoding="utf-8"), address, port)
    except (OSError, ValueError, asyncssh.KeyImportError) as error:
        raise Unreachable(f"{file} cannot be read: {error}", hint=f"correct {file}") from error


def _stored(text: str, address: str, port: int) -> Stored:
    known = asyncssh.import_known_hosts(text)
    # The full pattern as the host and no port: with a port, a key stored for port 22 would
    # answer for every other port of the address, where another machine may be.
    trusted, _authorities, revoked, *_ = known.match(pattern(address, port), "", None)
    return Stored(tuple(trusted), tuple(revoked))


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Hold the store for one change; the lock is a file of its own, as the store is replaced."""
    paths.private_directory(store.parent)
    try:
        descriptor = os.open(store.with_name(store.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OakError(f"{store} cannot be written: {error}") from error
    with os.fdopen(descriptor, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(store: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile(  # made with mode 0600
        "w", encoding="utf-8", dir=store.parent, prefix=f".{store.name}.", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(store)
