"""The lab of this folder, and commands on its hosts.

Belongs here: what several modules of this folder need. Does not belong here: what a lab leaves on
this machine (`picture`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from oakctl.cli import ssh
from oakctl.lab.machines import lab as machines
from oakctl.lab.machines.lab_file import LabPlan, MachineHost, Nat, Site, Sudo, Udp

PLAN = LabPlan(
    hosts=(
        MachineHost("m1"),
        MachineHost("m2", sudo=Sudo.PASSWORD),
        MachineHost("cone", site="cone"),
        MachineHost("home", site="home"),
        MachineHost("phone", site="phone"),
        MachineHost("office", site="office"),
    ),
    sites=(
        Site("cone", Nat.FULL_CONE),
        Site("home", Nat.PORT_RESTRICTED),
        Site("phone", Nat.SYMMETRIC),
        Site("office", Nat.NONE, Udp.DROP),
    ),
)
NAME = "mt"
REMOTE_S = 60


def timed(what: str, work: Callable[[], object]):  # type: ignore[no-untyped-def]
    began = time.monotonic()
    result = work()
    sys.stdout.write(f"{what}: {time.monotonic() - began:.1f} s\n")
    return result


def remote(
    lab: machines.Lab, host: str, command: str, stdin: str = "", *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command as the operator would, by the system's ssh and our known_hosts."""
    argv = ssh.arguments(lab.host(host), ["sh", "-c", command])
    argv[1:1] = ["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=REMOTE_S)
    assert not check or done.returncode == 0, done.stderr
    return done
