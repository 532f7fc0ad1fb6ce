"""How a host is booted: the argument list of systemd-nspawn and the cgroup around it. Pure.

Belongs here: what is run. Does not belong here: running it, ending it (`machine`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oakctl.lab.machines.lab_file import MachineHost, Suite

DOCKER_DIRECTORY = "/var/lib/docker"
REBOOT = 133  # how systemd-nspawn ends when the host has restarted itself (with --keep-unit)


@dataclass(frozen=True)
class Surroundings:
    """What a machine offers to its hosts.

    `systemd`: it is this machine's init. `hierarchies`: the cgroup file systems' roots where a
    host gets a group of its own (only where systemd doesn't give it one).
    """

    systemd: bool
    hierarchies: tuple[str, ...]
    tun: bool


@dataclass(frozen=True)
class Place:
    """Where one host's things are on this machine."""

    name: str  # of the host as a machine and of its cgroup: `oakl-<tag>-<host>`
    root: str
    namespace: str
    console: str
    docker: str = ""


def nspawn(host: MachineHost, place: Place, around: Surroundings) -> tuple[str, ...]:
    """The argument list of the host itself."""
    argv = [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={place.root}"),
        *(f"--machine={place.name}", f"--hostname={host.name}"),
        f"--network-namespace-path={place.namespace}",
        *("--register=no", "--keep-unit", "--settings=no", "--private-users=no"),
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        *("--capability=all", "--system-call-filter=add_key keyctl bpf perf_event_open"),
    ]
    if around.tun:
        argv.append("--bind=/dev/net/tun")
    if place.docker:
        # An engine can't lay its own overlay on the host's, so this is of the ordinary disk.
        argv.append(f"--bind={place.docker}:{DOCKER_DIRECTORY}")
    return tuple(argv)


def environment(host: MachineHost) -> Mapping[str, str]:
    """What systemd-nspawn needs in its environment."""
    # systemd 256 and later refuse to boot with cgroups of version 1. Where a machine mounts
    # both, that host gets version 2; older releases take what the machine has.
    return {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if host.suite is Suite.TRIXIE else {}


def launcher(argv: Sequence[str], place: Place, around: Surroundings) -> str:
    """A shell script that becomes the host, in a cgroup that holds nothing but this host.

    Its own: the init of each host thinks that it has the whole tree, and hosts that shared one
    would end each other's services.
    """
    run = (
        f"while :; do code=0; {shlex.join(argv)} || code=$?; "
        f"[ $code = {REBOOT} ] || exit $code; done </dev/null >>{shlex.quote(place.console)} 2>&1"
    )
    if around.systemd:
        scope = f"systemd-run --scope --quiet --collect --unit={place.name} --property=Delegate=yes"
        return f"exec {scope} -- /bin/sh -c {shlex.quote(run)}\n"
    lines = ["set -eu"]
    for hierarchy in around.hierarchies:
        group = shlex.quote(f"{hierarchy}/{place.name}")
        lines += [f"mkdir -p {group}"]
        # A new group of `cpuset` has no processor and takes no process until it is given some.
        lines += [
            f"if [ -e {group}/cpuset.{kind} ] && [ ! -e {group}/cgroup.controllers ]; then "
            f"cat {shlex.quote(hierarchy)}/cpuset.{kind} >{group}/cpuset.{kind}; fi"
            for kind in ("cpus", "mems")
        ]
        lines += [f"echo $$ >{group}/cgroup.procs"]
    return "\n".join([*lines, run]) + "\n"
