"""Which playbooks a worker's host gets for what it is: decided from facts. Pure.

Does not belong here: what they do (`playbooks/`), what is merely told of a device (`preflight`).
"""

from __future__ import annotations

from oakctl.remote import jetson
from oakctl.remote.facts import HostFacts
from oakctl.remote.residence import Homeless, Residence


def playbooks_for(
    facts: HostFacts, residence: Residence | Homeless, *, docker: bool
) -> tuple[str, ...]:
    """Their names, in order; `docker`: the host shall have it.

    A device's playbooks change the system, so they are for hosts where we are the superuser. That
    Docker cannot be had is an error of its playbook, because it was asked for.
    """
    as_root = isinstance(residence, Residence) and residence.as_root
    found = []
    if as_root and facts.command_line.file and not facts.control.memory:
        found.append("raspberry_pi")  # first: a restart interrupts nothing then
    if docker:
        found.append("docker")
    if as_root and jetson.is_jetson(facts) and (docker or facts.docker.installed):
        found.append("jetson")
    return tuple(found)
