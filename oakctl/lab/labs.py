"""Labs of whatever kind, by name: what is the same for all of them.

Belongs here: finding out which kind a lab is of. Does not belong here: anything that a kind does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from oakctl.errors import UsageError
from oakctl.lab import loopback
from oakctl.lab.description import LabFiles
from oakctl.lab.machines import lab as machines

Lab: TypeAlias = "loopback.Lab | machines.Lab"
Progress = Callable[[str], None]


def load(name: str) -> Lab:
    """The lab as it is; raises NotFound."""
    return machines.load(name) if _is_of_machines(name) else loopback.load(name)


def ls() -> tuple[Lab, ...]:
    """Every lab of this state directory, by name."""
    return tuple(sorted((*loopback.ls(), *machines.ls()), key=lambda lab: lab.name))


async def down(name: str, progress: Progress) -> None:
    """Take a lab away, of whatever kind; fine when there is nothing.

    What builds and emulation left behind is nobody's in particular: it goes with any lab.
    """
    superuser = os.geteuid() == 0
    if _is_of_machines(name) or (superuser and machines.is_there(name)):
        await machines.down(name, progress)
    elif superuser and machines.is_littered():
        await machines.sweep(name)
    await loopback.down(name, progress)


def with_cables(lab: Lab) -> Lab:
    """`lab` as one whose hosts have cables; raises UsageError where they have none."""
    if isinstance(lab, machines.Lab) or lab.light:
        return lab
    raise UsageError(
        f"the hosts of lab {lab.name} share this machine's network",
        hint="oakctl lab up --kind namespaces makes hosts with their own",
    )


def with_light_hosts(lab: Lab) -> loopback.Lab:
    """`lab` as one of light hosts, whose cables can be slow; raises UsageError where it is none."""
    if isinstance(lab, loopback.Lab) and lab.light:
        return lab
    raise UsageError(
        f"lab {lab.name} has no light hosts, and only their cables can be slowed down",
        hint="oakctl lab up --kind namespaces",
    )


def with_disks(lab: Lab) -> machines.Lab:
    """`lab` as one whose hosts have disks; raises UsageError where they have none."""
    if isinstance(lab, machines.Lab):
        return lab
    raise UsageError(
        f"the hosts of lab {lab.name} share this machine's disk",
        hint="oakctl lab up --kind machines makes hosts with their own",
    )


def _is_of_machines(name: str) -> bool:
    files = LabFiles(name)
    return (files.directory / machines.RECORD).exists()
