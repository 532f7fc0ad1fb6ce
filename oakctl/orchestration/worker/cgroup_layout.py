"""Which control groups this process may use, from what the kernel says of them. Pure.

Belongs here: parsing /proc/self/mountinfo and /proc/self/cgroup, and the file names of both
versions. Does not belong here: making a group (`cgroup`). A machine may be v1, v2 or hybrid, so
each controller is looked up by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROLLERS = ("cpu", "memory", "pids")
PERIOD_US = 100_000
SHORTEST_QUOTA_US = 1_000  # the kernel refuses less


@dataclass(frozen=True)
class Mount:
    """One mounted hierarchy."""

    version: int  # 1 or 2
    path: str  # where it is mounted
    root: str  # what of the hierarchy is mounted there
    controllers: frozenset[str]  # of v1; v2 says in cgroup.controllers


@dataclass(frozen=True)
class Setting:
    """One file of a group, and what to write into it."""

    file: str
    value: str
    optional: bool = False  # not every kernel has it


def mounts(mountinfo: str) -> tuple[Mount, ...]:
    """The hierarchies in /proc/self/mountinfo, in its order."""
    found = []
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found.append(Mount(2, fields[4], fields[3], frozenset()))
        elif kind[0] == "cgroup":
            names = frozenset(kind[2].split(",")) & frozenset(CONTROLLERS)
            if names:
                found.append(Mount(1, fields[4], fields[3], names))
    return tuple(found)


def own_groups(text: str) -> dict[str, str]:
    """/proc/self/cgroup: controller → own group in it; "" is that of v2."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def inside(mount: Mount, group: str) -> str:
    """The directory of `group` below `mount` (the mount may show a part of the hierarchy)."""
    if mount.root not in ("/", group) and not group.startswith(mount.root.rstrip("/") + "/"):
        return mount.path
    relative = group if mount.root == "/" else group[len(mount.root) :]
    return (mount.path + "/" + relative.strip("/")).rstrip("/")


def settings(
    version: int, controller: str, *, vcpus: float, memory_mb: int, pids: int
) -> tuple[Setting, ...]:
    """What to write for these limits; zero limits nothing."""
    if controller == "cpu" and vcpus > 0:
        quota = max(SHORTEST_QUOTA_US, round(vcpus * PERIOD_US))
        if version == 2:
            return (Setting("cpu.max", f"{quota} {PERIOD_US}"),)
        return (
            Setting("cpu.cfs_period_us", str(PERIOD_US)),
            Setting("cpu.cfs_quota_us", str(quota)),
        )
    if controller == "memory" and memory_mb > 0:
        limit = str(memory_mb * 1024 * 1024)
        if version == 2:
            return (Setting("memory.max", limit), Setting("memory.swap.max", "0", optional=True))
        return (
            Setting("memory.limit_in_bytes", limit),
            Setting("memory.memsw.limit_in_bytes", limit, optional=True),
        )
    if controller == "pids" and pids > 0:
        return (Setting("pids.max", str(pids)),)
    return ()


def in_words(version: int, controller: str, values: dict[str, str]) -> str:
    """A limit as it was read back from its files; "" when there is none."""
    if controller == "cpu":
        if version == 2:
            quota, _, period = values.get("cpu.max", "max").partition(" ")
        else:
            quota = values.get("cpu.cfs_quota_us", "-1")
            period = values.get("cpu.cfs_period_us", "1")
        return f"cpu {int(quota) / int(period):g}" if quota.isdigit() else ""
    if controller == "memory":
        limit = values.get("memory.max" if version == 2 else "memory.limit_in_bytes", "")
        return f"memory {int(limit) // (1024 * 1024)} MiB" if limit.isdigit() else ""
    limit = values.get("pids.max", "")
    return f"pids {limit}" if limit.isdigit() else ""
