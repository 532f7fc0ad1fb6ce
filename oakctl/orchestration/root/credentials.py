"""Secrets of the bus: files with mode 0600 below the state directory, and never in SQLite.

credentials/<cluster>/root.secret          the root's own password on that bus
credentials/<cluster>/gate.key             the key to the host of a cluster that is another's
credentials/<cluster>/ca.pem, access.json  how it is reached
credentials/<cluster>/workers/<w>.secret   so that an interrupted `worker add` carries on
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import bcrypt

from oakctl import paths
from oakctl.errors import Conflict
from oakctl.model import wire
from oakctl.model.roots import AccessFile
from oakctl.remote.bootstrap import ClusterAccess

# The secrets are 128 random bits: nothing is gained by making a guess expensive, and the bus
# checks the hash on every connection.
BCRYPT_COST = 4
GATE_KEY = "gate.key"


def write_private(path: Path, text: str) -> None:
    """Write a 0600 file durably: all of it or the old one."""
    paths.private_directory(path.parent)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def cluster_directory(cluster: str) -> Path:
    """Where the credentials of one cluster lie."""
    return paths.credentials_directory() / cluster


def root_secret(cluster: str) -> tuple[Path, str]:
    """The root's password on this cluster's bus, made when there is none: (its file, itself)."""
    return _secret(cluster_directory(cluster) / "root.secret")


def worker_secret(cluster: str, worker: str) -> str:
    """The worker's password, made when there is none."""
    return _secret(_worker_file(cluster, worker))[1]


def known_root_secret(cluster: str) -> str:
    """The root's password when there is one, else ""; makes nothing."""
    return _known(cluster_directory(cluster) / "root.secret")


def known_worker_secret(cluster: str, worker: str) -> str:
    """The worker's password when there is one, else ""; makes nothing."""
    return _known(_worker_file(cluster, worker))


def hashed(secret: str) -> str:
    """What the bus is told of a password."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(BCRYPT_COST, prefix=b"2b")).decode()


def forget_worker(cluster: str, worker: str) -> None:
    """Remove a worker's password."""
    _worker_file(cluster, worker).unlink(missing_ok=True)


def forget_cluster(cluster: str) -> None:
    """Remove everything of a cluster."""
    shutil.rmtree(cluster_directory(cluster), ignore_errors=True)


def save_access(cluster: str, access: ClusterAccess) -> None:
    """Keep how the cluster's bus is reached."""
    directory = cluster_directory(cluster)
    write_private(directory / "ca.pem", access.ca_pem)
    write_private(directory / "access.json", wire.encode(access).decode())


def access(cluster: str) -> ClusterAccess | None:
    """How the cluster's bus is reached; None before its bootstrap has come that far."""
    file = cluster_directory(cluster) / "access.json"
    return wire.decode(file.read_bytes(), ClusterAccess) if file.exists() else None


def account(cluster: str) -> str:
    """What we are called in a cluster that is another operator's; empty in one of our own."""
    known = access(cluster)
    return known.account if known is not None else ""


def own(cluster: str, what: str) -> None:
    """Return when the cluster is ours to change; raises Conflict for one that we were let in to."""
    if account(cluster):
        raise Conflict(
            f"cluster {cluster} is another operator's: {what} is theirs",
            hint=f"oakctl cluster remove {cluster} takes it out of this list",
        )


def save_granted(cluster: str, given: AccessFile) -> None:
    """Keep what another operator has handed us, in place of what was there."""
    directory = cluster_directory(cluster)
    write_private(directory / "root.secret", given.secret)
    write_private(directory / GATE_KEY, given.private_key)


def is_gate(key_file: str) -> bool:
    """Whether it is the key to another operator's cluster, which opens no shell."""
    return (
        Path(key_file).name == GATE_KEY and paths.credentials_directory() in Path(key_file).parents
    )


def ca_file(cluster: str) -> Path:
    """The cluster's own CA."""
    return cluster_directory(cluster) / "ca.pem"


def _worker_file(cluster: str, worker: str) -> Path:
    return cluster_directory(cluster) / "workers" / f"{worker}.secret"


def _known(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _secret(path: Path) -> tuple[Path, str]:
    if not path.exists():
        write_private(path, secrets.token_hex(16))
    return path, path.read_text().strip()
