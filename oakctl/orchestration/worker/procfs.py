"""What /proc says of processes: who lives, since when, and what they use.

Belongs here: reading /proc. Does not belong here: what is made of it. A process is named by
(pid, start time, boot id): a pid alone may have been given to a stranger.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024
PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """The fields of /proc/PID/stat that we use."""

    pid: int
    state: str  # R, S, D, Z, ...
    group: int
    session: int
    cpu_s: float  # user and system time, seconds
    start: int  # ticks after boot
    rss_mb: float  # MiB


def parse_stat(text: str) -> ProcessStat:
    """/proc/PID/stat; the command's name in it may hold anything, brackets too."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        pid=int(head.split(" ", 1)[0]),
        state=fields[0],
        group=int(fields[2]),
        session=int(fields[3]),
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
        start=int(fields[19]),
        rss_mb=int(fields[21]) * PAGE_BYTES / MIB,
    )


def stat_of(pid: int) -> ProcessStat | None:
    """The process with this id, or None when there is none."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    """Different after each start of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def lives(pid: int, start: int) -> bool:
    """Whether the process that had `pid` and began at `start` still runs (a zombie does not)."""
    stat = stat_of(pid)
    return stat is not None and stat.start == start and stat.state not in "ZX"


def all_stats() -> list[ProcessStat]:
    """Every process on the machine that can be seen."""
    found = (stat_of(int(path.name)) for path in PROC.iterdir() if path.name.isdigit())
    return [stat for stat in found if stat is not None]


def session_members(session: int, start: int, everyone: list[ProcessStat]) -> list[int]:
    """Live processes of the session whose leader had (session, start).

    The kernel gives a pid out again only when no session or group has it as its id, so members
    that began after the leader belong to it unless a stranger is the leader now.
    """
    leader = next((stat for stat in everyone if stat.pid == session), None)
    if leader is not None and leader.start != start:
        return []
    return [
        stat.pid
        for stat in everyone
        if (session in (stat.session, stat.group))
        and stat.start >= start
        and stat.state not in "ZX"
    ]


def group_members(pid: int) -> set[int]:
    """All processes of the control group of `pid`, and of groups below it; empty: not known."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return set()
    groups = {controllers: path for _, controllers, path in (x.split(":", 2) for x in lines)}
    for root, name in (("pids", "pids"), ("memory", "memory"), ("", "")):
        group = Path("/sys/fs/cgroup", root, groups.get(name, "/").lstrip("/"))
        if groups.get(name, "/") != "/" and group.is_dir():
            return _processes_below(group)
    return set()


def _processes_below(group: Path) -> set[int]:
    found: set[int] = set()
    for file in (group / "cgroup.procs", *group.glob("*/cgroup.procs")):
        try:
            found |= {int(pid) for pid in file.read_text().split()}
        except OSError:
            continue
    return found


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether the process was started with this environment variable (False: or unreadable)."""
    try:
        content = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{name}={value}".encode() in content.split(b"\0")
