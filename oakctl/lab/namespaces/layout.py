"""Which light hosts a lab has: the demonstration's, or those of a `lab.yaml`.

Belongs here: from a plan to a lab that is up. Does not belong here: keeping it (`lab.loopback`).
"""

from __future__ import annotations

from collections.abc import Callable

from oakctl.lab import loopback
from oakctl.lab.loopback import DEMO_HOSTS, Lab, LabHost
from oakctl.lab.machines.lab_file import Arch, LabPlan, MachineHost, Nat, Site, Sudo, Suite

# The demonstration's hosts: two of its workers are behind a router at home, one behind a worse one.
DEMO_SITES = (Site("home"), Site("office", Nat.SYMMETRIC))
_BEHIND = {"edge-w2": "home", "edge-w3": "home", "edge-w4": "office"}
DEMO_PLAN = LabPlan(
    tuple(MachineHost(host.name, site=_BEHIND.get(host.name, "")) for host in DEMO_HOSTS),
    DEMO_SITES,
)

Progress = Callable[[str], None]


async def up(name: str, plan: LabPlan | None, progress: Progress) -> Lab:
    """Make a lab of light hosts, or bring it back; see `loopback.up`. None: the demonstration's."""
    if plan is None:
        return await loopback.up(name, DEMO_HOSTS, progress, network=DEMO_PLAN)
    for line in not_followed(plan):
        progress(line)
    hosts = [LabHost(host.name) for host in plan.hosts]
    return await loopback.up(name, hosts, progress, network=plan)


def not_followed(plan: LabPlan) -> list[str]:
    """What the plan asks for that light hosts cannot have, in words."""
    lines = []
    for host in plan.hosts:
        asked = {
            f"suite: {host.suite.value}": host.suite is not Suite.TRIXIE,
            f"sudo: {host.sudo.value}": host.sudo is not Sudo.NOPASSWD,
            f"arch: {host.arch.value}": host.arch is not Arch.NATIVE,
            "docker: true": host.docker,
        }
        words = [word for word, is_asked in asked.items() if is_asked]
        if words:
            why = "light hosts have the system of this machine"
            lines.append(f"host {host.name}: not followed: {', '.join(words)}; {why}")
    return lines
