"""Which keys are offered to a host, and in which order: the same for both SSH libraries.

Belongs here: key files, passphrases, the agent, and what a locked key means. Does not belong
here: offering them (`dialling`, `tunnel`), asking for a passphrase (the terminal's matter).
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import paramiko
from paramiko.agent import AgentKey, AgentSSH

from oakctl.errors import Unreachable

DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")  # below ~/.ssh, best first
LOCKED = "is protected by a passphrase"  # the mark by which a terminal knows that it may ask
AGENT_DEADLINE_S = 5.0

Passphrases = Callable[[str], str]  # key file → its passphrase, empty where none was given


def no_passphrase(file: str) -> str:
    """Where none can be given."""
    return ""


class KeyLocked(Unreachable):
    """A key would be needed whose passphrase was not given."""


@dataclass(frozen=True)
class Offer:
    """One key: a file (with its passphrase, in memory only), or the agent's with this blob."""

    blob: bytes
    file: Path | None = None
    passphrase: str = field(default="", repr=False)


@dataclass(frozen=True)
class Identity:
    """What is offered, in this order; `locked` are files that could be, were they unlocked."""

    offers: tuple[Offer, ...]
    agent: str = ""  # its socket; empty: nobody answers there
    locked: tuple[Path, ...] = ()


def find(
    host: str,
    named: Iterable[str],
    *,
    required: bool,
    only: bool,
    agent: str,
    passphrases: Passphrases = no_passphrase,
) -> Identity:
    """The keys for a host: the `named` files first, then, unless `only` those, the agent's others.

    Without named files the usual ones below ~/.ssh come last, as ssh does it. `required`: a
    named file that is of no use is an error (Unreachable), otherwise it is passed over.
    """
    files = [Path(file).expanduser() for file in named]
    usual = [Path.home() / ".ssh" / name for name in DEFAULTS]
    held = agent_blobs(agent)
    offers: list[Offer] = []
    closed: list[Path] = []
    for file in files or usual:
        try:
            found = _offer(host, file, held, passphrases, required=required)
        except KeyLocked:
            closed.append(file)
            continue
        offers.extend((found,) if found else ())
    others = [] if only and files else [Offer(blob) for blob in held]
    ordered = [*offers, *others] if files else [*others, *offers]
    unique = {offer.blob: offer for offer in reversed(ordered)}
    return Identity(tuple(reversed(unique.values())), agent, tuple(closed))


def with_usual(file: str) -> tuple[str, ...]:
    """`file` before the usual ones; nothing for no file."""
    return (file, *(f"~/.ssh/{name}" for name in DEFAULTS)) if file else ()


def _offer(
    host: str, file: Path, held: tuple[bytes, ...], passphrases: Passphrases, *, required: bool
) -> Offer | None:
    """What a file is good for; None for one that is of no use. Raises KeyLocked."""
    try:
        public = public_part(file)
        if public in held:  # the agent signs: nothing has to be unlocked
            return Offer(public)
        passphrase = passphrases(str(file))
        return Offer(unlock(file, passphrase), file, passphrase)
    except asyncssh.KeyEncryptionError as error:  # the passphrase is another one by now
        raise locked(host, file) from error
    except asyncssh.KeyImportError as error:
        if "passphrase" in str(error).lower():
            raise locked(host, file) from error
        useless = Unreachable(f"{host}: {file} is no private key: {error}", hint=f"cat {file}.pub")
    except FileNotFoundError:
        useless = Unreachable(
            f"{host}: the key {file} does not exist",
            hint=f"name another one, or make it: ssh-keygen -t ed25519 -f {file}",
        )
    except OSError as error:
        useless = Unreachable(
            f"{host}: the key {file} cannot be read: {error.strerror}", hint=f"chmod 600 {file}"
        )
    if required:
        raise useless
    return None


def locked(host: str, file: Path) -> KeyLocked:
    """The error for a key that only its passphrase opens."""
    return KeyLocked(
        f"{host}: the key {file} {LOCKED} and no agent holds it",
        hint="run it on a terminal, which asks for it, or let an agent hold it: "
        f'eval "$(ssh-agent)" && ssh-add {file}',
    )


def unlock(file: Path, passphrase: str) -> bytes:
    """The public part of a private key that opens with `passphrase`.

    Raises OSError, and KeyEncryptionError or KeyImportError where it does not open.
    """
    key = asyncssh.read_private_key(file, passphrase or None)
    if key.get_algorithm().startswith("sk-"):
        raise asyncssh.KeyImportError("it lives in a security key: let an agent hold it")
    return key.public_data


def public_part(file: Path) -> bytes:
    """What a key file shows without being unlocked, or the .pub beside it; empty: nothing."""
    text = file.read_bytes()
    with contextlib.suppress(asyncssh.KeyImportError):
        return asyncssh.import_public_key(text).public_data  # IdentityFile may name a .pub
    body = text.partition(b"-----BEGIN OPENSSH PRIVATE KEY-----")[2].partition(b"-----END")[0]
    if body:
        with contextlib.suppress(ValueError, struct.error):
            return _shown(base64.b64decode(body))
    beside = file.with_name(file.name + ".pub")
    with contextlib.suppress(OSError, asyncssh.KeyImportError):
        return asyncssh.read_public_key(beside).public_data
    return b""


def _shown(raw: bytes) -> bytes:
    """The public key in openssh-key-v1: after cipher, kdf, its options and the count of keys."""
    at = len(b"openssh-key-v1\0")
    for _ in range(3):
        at += 4 + struct.unpack_from(">I", raw, at)[0]
    at += 4
    (length,) = struct.unpack_from(">I", raw, at)
    return raw[at + 4 : at + 4 + length]


def agent_socket(path: str = "") -> str:
    """The running agent's socket (`path`, or SSH_AUTH_SOCK); empty where nobody answers on it."""
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return ""
    return path


class _Agent(AgentSSH):  # type: ignore[misc]  # paramiko has no types
    """The agent at a path; paramiko's own looks at SSH_AUTH_SOCK alone."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(AGENT_DEADLINE_S)
        try:
            connection.connect(path)
            self._connect(connection)
            connection.settimeout(None)  # a signature may wait for a finger on a security key
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._close()


@contextlib.contextmanager
def agent_keys(path: str) -> Iterator[dict[bytes, AgentKey]]:
    """The agent's keys by blob, for as long as the context lasts; none when it does not answer."""
    try:
        agent = _Agent(path)
    except (OSError, paramiko.SSHException):
        yield {}
        return
    try:
        yield {key.blob: key for key in agent.get_keys()}
    finally:
        agent.close()


def agent_blobs(path: str) -> tuple[bytes, ...]:
    """What the agent at `path` holds, in its order; nothing for an empty path."""
    if not path:
        return ()
    with agent_keys(path) as keys:
        return tuple(keys)
