"""What running hosts leave on this machine, and ending it: processes, cgroups, nspawn's state.

Everything is found by names that follow from the lab's, so it works after any accident. Units
may be patterns: `oakl-<tag>-*` is every host of a lab. Does not belong here: files and networks
of a lab (`lab`, `network`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

from oakctl.errors import DeadlineExceeded
from oakctl.lab import processes
from oakctl.lab.machines.shell import STEP_S, Shell, mounts_below, unmount_below

CGROUPS = Path("/sys/fs/cgroup")
NSPAWN_STATE = Path("/run/systemd/nspawn")
KILL_S = 60.0


def cgroups(unit: str) -> list[Path]:
    """The cgroups of a host in every hierarchy."""
    patterns = (unit, f"*/{unit}", f"system.slice/{unit}.scope", f"*/system.slice/{unit}.scope")
    return [group for pattern in patterns for group in CGROUPS.glob(pattern) if group.is_dir()]


def pids(lab: str, unit: str, host: str | None = None) -> set[int]:
    """Everything that runs of a host: whatever it did to itself, it can't leave its cgroup."""
    found = {process.pid for process in processes.of_lab(lab, host)}
    for group in cgroups(unit):
        found |= _members(group)
    return found


async def kill(shell: Shell, unit: str, host: str | None = None) -> None:
    """SIGKILL everything of a host and remove its traces; without `host`, of the whole lab.

    Raises DeadlineExceeded when something survives.
    """
    deadline = time.monotonic() + KILL_S
    while left := pids(shell.lab, unit, host):
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"{len(left)} processes of {unit} do not end within {KILL_S:.0f} s",
                hint="kill -9 " + " ".join(map(str, sorted(left))),
            )
        await asyncio.sleep(STEP_S)
    for group in cgroups(unit):
        below = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
        for directory in (*below, group):
            _remove_if_empty(directory)
    for kind in ("propagate", "unix-export"):
        for directory in (NSPAWN_STATE / kind).glob(unit):
            await unmount_below(shell, directory)
            _remove_if_empty(directory)


def forget_lock(root: Path) -> None:
    """Remove systemd-nspawn's lock on a host's root, which must be mounted still."""
    if mounts_below(root):
        status = root.stat()
        name = f"inode-{status.st_dev}:{status.st_ino}"
        (NSPAWN_STATE / "locks" / name).unlink(missing_ok=True)


def forget_state() -> None:
    """Remove systemd-nspawn's directories when no host of anybody is in them."""
    for directory in ("propagate", "unix-export", "locks", ""):
        _remove_if_empty(NSPAWN_STATE / directory)


def _members(group: Path) -> set[int]:
    found: set[int] = set()
    for file in (group / "cgroup.procs", *group.rglob("cgroup.procs")):
        try:
            # 0: of another pid namespace, which can't be seen from here.
            found |= {int(line) for line in file.read_text().split()} - {0}
        except OSError:  # the group went away meanwhile
            continue
    return found


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not directory.is_symlink():
        try:
            directory.rmdir()
        except OSError:  # somebody else's is in it
            return
