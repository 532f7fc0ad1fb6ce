"""Who the processes of an instance are, where the agent is the superuser.

Belongs here: the numbers, and what an instance may see of the agent's prefix. Does not belong
here: becoming that user, which the new process does itself (`launcher`).

Each instance is a user and a group of its own, both with one number and without an entry in
/etc/passwd: `FIRST` plus the last 16 bits of its overlay address. Addresses are leased and rest
before they are given again, so two instances of a node never share one, and a new agent finds
the same number as the one before it. The range 1879048192 to 1879113727 is one that systemd's
list of users and groups leaves free: above every container's range, below 2^31, which some
programs take for a negative number.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from pathlib import Path

FIRST = 0x7000_0000
SPAN = 0x1_0000
PASSABLE = 0o711  # one may go through, and not look around
READABLE = 0o055
UID_MAP = Path("/proc/self/uid_map")


def separate_users(overlay_driver: str) -> bool:
    """Whether instances are users of their own.

    Not without the superuser's rights, and not in a lab whose hosts are directories of the
    operator's own, which nobody else can enter. A light host's superuser is one of its namespace
    alone, in which there are no such users.
    """
    return os.geteuid() == 0 and overlay_driver != "loopback" and _exist_here()


def _exist_here() -> bool:
    """Whether this user namespace has all of the numbers that are given out."""
    mapped = (tuple(map(int, line.split())) for line in UID_MAP.read_text().splitlines())
    return any(first <= FIRST and first + count >= FIRST + SPAN for first, _, count in mapped)


def number(address: str) -> int:
    """The user of the instance with this overlay address; raises ValueError when it is none."""
    return FIRST + int(ipaddress.IPv4Address(address)) % SPAN


def open_prefix(prefix: Path) -> None:
    """Instances reach their own directories and artifacts whose name they know; raises OSError.

    An interpreter that was pushed below the prefix is what their programs run in. Everything
    else there stays the superuser's alone.
    """
    for directory in (prefix, prefix / "instances", prefix / "artifacts"):
        directory.chmod(PASSABLE)
    interpreter = Path(sys.base_prefix).resolve()
    if prefix in interpreter.parents:
        for parent in interpreter.parents[: interpreter.parents.index(prefix)]:
            parent.chmod(PASSABLE)
        open_tree(interpreter)


def open_tree(top: Path) -> None:
    """Everyone may read `top` and all below it, which is whole and nobody's secret.

    The top comes last: where that is open, all was opened before.
    """
    if top.stat().st_mode & READABLE == READABLE:
        return
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (READABLE if mode & 0o100 else READABLE & 0o444))
    top.chmod(top.stat().st_mode | READABLE)


def closed_parent(path: Path) -> Path | None:
    """The outermost directory on the way to `path` that other users cannot pass."""
    for parent in reversed(path.parents):
        if not parent.stat().st_mode & 0o001:
            return parent
    return None


def hand_over(path: Path, user: int) -> None:
    """`path` and all below it become the user's; does nothing where it is; raises OSError.

    Links are not followed: an instance may have made them. The top comes last, so that a
    handing-over that was cut off is done again.
    """
    if path.lstat().st_uid == user:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                os.lchown(Path(folder, name), user, user)
    os.lchown(path, user, user)


def command(user: int | None, argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv` as that user, without other groups and without a way to more rights."""
    if user is None:
        return argv
    become = (f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs")
    return ("setpriv", *become, "--", *argv)
