"""Keys of a lab: the one that logs in, one per host, and what our known_hosts says of them.

Belongs here: making and writing them. Does not belong here: who trusts what
(`remote.target`).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

from oakctl import paths
from oakctl.lab.description import SSH_PORT, LabFiles, LabRecord, write_atomically

MARK = "oakctl-lab:"  # in the comment of our entries: what else is there is never touched


def make_keys(files: LabFiles, record: LabRecord) -> None:
    """Make each key of the lab that is missing (ed25519, 0600)."""
    paths.private_directory(files.user_key.parent)
    make_key(files.user_key, f"{MARK}{record.id}")
    for host in record.hosts:
        make_key(files.host_key(host.name), f"{MARK}{record.id}:{host.name}")


def trust_hosts(files: LabFiles, record: LabRecord) -> None:
    """Write the lab's host keys into our known_hosts, and nobody else's."""
    ours = []
    for host in record.hosts:
        public = files.host_key(host.name).with_suffix(".pub").read_text().split()
        ours.append(f"[{host.address}]:{SSH_PORT} {public[0]} {public[1]} {MARK}{record.id}")
    trust(record.id, ours)


def trust(lab: str, lines: list[str]) -> None:
    """Put these lines in place of what our known_hosts says of the lab and its addresses."""
    addresses = {line.split()[0] for line in lines}
    _edit(lambda line: not _belongs(line, lab, addresses), lines)


def distrust_hosts(lab: str) -> None:
    """Take the lab's entries out of our known_hosts again."""
    if paths.known_hosts().exists():
        _edit(lambda line: not _belongs(line, lab, set()), [])


def _belongs(line: str, lab: str, addresses: set[str]) -> bool:
    """Whether a line is of this lab, or of a lab that died and had one of these addresses."""
    fields = line.split()
    if len(fields) != 4 or not fields[3].startswith(MARK):
        return False
    return fields[3] == f"{MARK}{lab}" or fields[0] in addresses


def make_key(path: Path, comment: str) -> None:
    """An ed25519 key at `path` (0600) and its public part, unless they are there."""
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    write_atomically(path, key.export_private_key())
    write_atomically(public, key.export_public_key())


def _edit(keep: Callable[[str], bool], more: list[str]) -> None:
    file = paths.known_hosts()
    with locked(paths.private_directory(file.parent)):
        old = file.read_text().splitlines() if file.exists() else []
        lines = [line for line in old if keep(line)] + more
        if lines:
            write_atomically(file, ("\n".join(lines) + "\n").encode())
        else:
            file.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory's own lock, which leaves no file behind and ends with the process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
