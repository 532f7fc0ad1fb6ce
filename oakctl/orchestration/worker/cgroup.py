"""Limits of instances by control groups, where this node permits them.

Belongs here: finding out whether limits can be set (by setting some), a group per instance,
reading limits back, taking groups away. Does not belong here: which files those are
(`cgroup_layout`). Where a limit cannot be set it is not claimed.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from oakctl.model.resources import Resources
from oakctl.orchestration.worker import cgroup_layout as layout
from oakctl.orchestration.worker import storage

MOST_PROCESSES = 512  # threads too, of one instance
PROBE = "probe"
RASPBERRY_PI = "on a Raspberry Pi add cgroup_enable=memory to the kernel's command line"


@dataclass(frozen=True)
class Base:
    """Where groups of ours lie, for one controller."""

    controller: str
    version: int
    directory: Path


@dataclass(frozen=True)
class Limits:
    """What can be limited on this node. `problems`: controller → why it cannot, in words."""

    bases: tuple[Base, ...]
    problems: dict[str, str]

    @property
    def enforced(self) -> bool:
        """Whether CPU, memory and processes can all be limited."""
        return not self.problems

    @property
    def reason(self) -> str:
        """Why not, in words; "" when they can."""
        return "; ".join(f"{name}: {why}" for name, why in sorted(self.problems.items()))

    def create(self, group: str, requests: Resources) -> str:
        """Make `group` with these limits; returns them as read back, with what is missing.

        Raises OSError when the kernel refuses a limit that it took in the probe.
        """
        words, versions = [], set()
        for base in self.bases:
            _open(base)
            directory = base.directory / group
            directory.mkdir(exist_ok=True)
            word = _limit(base, directory, requests)
            if word:
                words.append(word)
                versions.add(base.version)
        kind = " and ".join(f"v{version}" for version in sorted(versions))
        text = f"{' '.join(words)} (cgroup {kind})" if words else ""
        missing = f"limits not enforced: {self.reason}" if self.problems else ""
        return "; ".join(part for part in (text, missing) if part)

    def entrances(self, group: str) -> list[str]:
        """The files through which a process enters `group`."""
        directories = dict.fromkeys(base.directory / group for base in self.bases)
        return [str(directory / "cgroup.procs") for directory in directories]

    def members(self, group: str) -> set[int]:
        """Processes in `group`."""
        found: set[int] = set()
        for entrance in self.entrances(group):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in Path(entrance).read_text().split()}
        return found

    def out_of_memory_kills(self, group: str) -> int:
        """How often the kernel has killed in `group` for want of memory."""
        for base in self.bases:
            if base.controller == "memory":
                file = "memory.events" if base.version == 2 else "memory.oom_control"
                with contextlib.suppress(OSError):
                    for line in (base.directory / group / file).read_text().splitlines():
                        if line.startswith("oom_kill "):
                            return int(line.split()[1])
        return 0

    def sweep(self, keep: set[str]) -> None:
        """Take away empty groups that are not in `keep`; our own directories too, at last."""
        for directory in {base.directory for base in self.bases}:
            with contextlib.suppress(OSError):
                for group in list(directory.iterdir()):
                    if group.name not in keep and group.is_dir():
                        _remove(group)

    def close(self) -> None:
        """Take our own directories away where no group is left in them."""
        for base in self.bases:
            _remove(base.directory)


def probe(name: str, root: str = "") -> Limits:
    """Find out what can be limited, by limiting something.

    `name` is the directory of ours; `root` the group in which it shall lie, in each hierarchy
    ("/a/b", or with the hierarchy's mount before it; empty: at or beside our own group).
    """
    own = layout.own_groups(Path("/proc/self/cgroup").read_text())
    mounted = layout.mounts(Path("/proc/self/mountinfo").read_text())
    bases: list[Base] = []
    problems: dict[str, str] = {}
    for controller in layout.CONTROLLERS:
        try:
            bases.append(_base(controller, name, mounted, own, root))
        except OSError as error:
            problems[controller] = storage.in_words(error)
    return Limits(tuple(bases), problems)


def _base(
    controller: str, name: str, mounted: tuple[layout.Mount, ...], own: dict[str, str], root: str
) -> Base:
    first = next((m for m in mounted if m.version == 1 and controller in m.controllers), None)
    if first is not None:
        group = Path(layout.inside(first, own.get(controller, "/")))
        here = group if group.is_dir() else Path(first.path)
        return _tried(Base(controller, 1, (_below(first, root) if root else here) / name))
    second = next((m for m in mounted if m.version == 2 and _offers(m, controller)), None)
    if second is None:
        hint = f" ({RASPBERRY_PI})" if controller == "memory" else ""
        raise OSError(0, f"no control group hierarchy has this controller{hint}")
    group = Path(layout.inside(second, own.get("", "/")))
    last: OSError | None = None
    # A v2 group with processes in it can have no limited children: ours lie beside our own.
    near = [group.parent, group, Path(second.path)]
    for parent in [_below(second, root)] if root else near:
        try:
            if str(parent).startswith(second.path):
                return _tried(Base(controller, 2, parent / name))
        except OSError as error:
            last = last or error
    raise last or OSError(0, "no directory for groups of ours")


def _below(mount: layout.Mount, group: str) -> Path:
    return Path(mount.path) / group.removeprefix(mount.path).lstrip("/")


def _offers(mount: layout.Mount, controller: str) -> bool:
    try:
        return controller in (Path(mount.path) / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _tried(base: Base) -> Base:
    """`base`, after a group with a limit was made there and taken away; raises OSError."""
    probe_directory = base.directory / PROBE
    made = not base.directory.exists()
    try:
        _open(base)
        probe_directory.mkdir(exist_ok=True)
        _limit(base, probe_directory, Resources(vcpus=1.0, memory_mb=64))
    except OSError:
        _remove(probe_directory)
        if made:
            _remove(base.directory)
        raise
    _remove(probe_directory)
    return base


def _open(base: Base) -> None:
    """The directory of ours exists, and groups in it may have this controller."""
    if base.version == 2:
        _delegate(base.directory.parent, base.controller)
    base.directory.mkdir(exist_ok=True)
    if base.version == 2:
        _delegate(base.directory, base.controller)


def _delegate(directory: Path, controller: str) -> None:
    file = directory / "cgroup.subtree_control"
    if controller not in file.read_text().split():
        file.write_text(f"+{controller}")


def _limit(base: Base, directory: Path, requests: Resources) -> str:
    values: dict[str, str] = {}
    for setting in layout.settings(
        base.version,
        base.controller,
        vcpus=requests.vcpus,
        memory_mb=requests.memory_mb,
        pids=MOST_PROCESSES,
    ):
        file = directory / setting.file
        try:
            file.write_text(setting.value)
            values[setting.file] = file.read_text().strip()
        except OSError:
            if not setting.optional:
                raise
    return layout.in_words(base.version, base.controller, values)


def _remove(directory: Path) -> None:
    # The kernel refuses while anything is inside; the next sweep tries again.
    with contextlib.suppress(OSError):
        directory.rmdir()


def node_group(prefix: str) -> str:
    """The name of our directory of groups: hosts of a lab share one machine."""
    return f"oakctl-{hashlib.sha256(prefix.encode()).hexdigest()[:12]}"
