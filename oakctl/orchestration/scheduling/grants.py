"""What a service asks of a container beyond nothing, and whether a host's operator gives it. Pure.

Belongs here: the comparison, for the scheduler and for the worker, which checks again. Does not
belong here: links on the worker's disk, which only the worker can follow.
"""

from __future__ import annotations

import posixpath

from oakctl.model.node import ContainerGrants
from oakctl.model.service import ServiceSpec

WHERE = "etc/grants.json"
READ_ONLY = ":ro"


def refusals(spec: ServiceSpec, grants: ContainerGrants) -> tuple[str, ...]:
    """What is asked for and not given, in words; empty: all of it is given."""
    found: list[str] = []
    if spec.privileged and not grants.privileged:
        found.append("privileged containers")
    given = {name.upper().removeprefix("CAP_") for name in grants.capabilities}
    if not grants.privileged:
        found += [f"capability {name}" for name in spec.capabilities if name not in given]
    found += [f"device {path}" for path in spec.devices if path not in grants.devices]
    for volume in spec.volumes:
        if volume.of_host and not covers(grants.host_paths, volume.source, volume.read_only):
            how = "" if volume.read_only else " for writing"
            found.append(f"path {volume.source}{how}")
    return tuple(f"{what} not granted by this host's operator ({WHERE})" for what in found)


def covers(allowed: tuple[str, ...], path: str, read_only: bool) -> bool:
    """Whether one of the allowed paths is `path` or lies above it."""
    wanted = posixpath.normpath(path)
    for entry in allowed:
        above = posixpath.normpath(entry.removesuffix(READ_ONLY))
        if entry.endswith(READ_ONLY) and not read_only:
            continue
        if above == "/" or wanted == above or wanted.startswith(above + "/"):
            return True
    return False
