"""Where the operator's own files lie (XDG), and nothing about hosts.

State: SQLite, credentials, known_hosts, labs. Cache: node archives, nats-server builds.
Configuration: the user's playbooks. Runtime: sockets, whose paths have to be short.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from oakctl.errors import OakError

# A Unix socket's path may have 107 bytes (sun_path); what is longer moves to a short one.
LONGEST_SOCKET_PATH = 100


def _base(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG specification: a relative path is invalid and is ignored.
    base = Path(value) if value and Path(value).is_absolute() else Path.home() / fallback
    return base / "oakctl"


def state_directory() -> Path:
    """`$XDG_STATE_HOME/oakctl`: what must not be lost."""
    return _base("XDG_STATE_HOME", ".local/state")


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/oakctl`: what can be made again."""
    return _base("XDG_CACHE_HOME", ".cache")


def config_directory() -> Path:
    """`$XDG_CONFIG_HOME/oakctl`: what the user writes."""
    return _base("XDG_CONFIG_HOME", ".config")


def database() -> Path:
    """The root's SQLite file."""
    return state_directory() / "root.db"


def credentials_directory() -> Path:
    """The root's bus credentials, one directory per cluster."""
    return state_directory() / "credentials"


def secrets_directory() -> Path:
    """Named secrets, a file of mode 0600 for each."""
    return state_directory() / "secrets"


def known_hosts() -> Path:
    """Host keys that oakctl trusts, besides the user's own known_hosts."""
    return state_directory() / "known_hosts"


def labs_directory() -> Path:
    """One directory per lab."""
    return state_directory() / "labs"


def private_directory(path: Path) -> Path:
    """`path`, made with mode 0700 where it was missing.

    Raises OakError when it is another's, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OakError(
            f"the directory {path} cannot be made: {error.strerror}",
            hint="HOME and the XDG_* variables say where oakctl keeps its files",
        ) from error
    status = path.stat()
    if status.st_uid != os.getuid():
        raise OakError(f"{path} belongs to another user", hint=f"remove {path}")
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def socket_path(name: str) -> Path:
    """A path for a Unix socket that belongs to this state directory, short enough for the kernel.

    Deterministic: every process with the same state directory gets the same path.
    """
    wanted = state_directory() / name
    if len(str(wanted).encode()) <= LONGEST_SOCKET_PATH:
        return wanted
    digest = hashlib.sha256(str(state_directory()).encode()).hexdigest()[:12]
    short = private_directory(Path(tempfile.gettempdir()) / f"oakctl-{os.getuid()}")
    return private_directory(short / digest) / name


def root_socket() -> Path:
    """Where the root process of this state directory answers `/v1`."""
    return socket_path("root.sock")
