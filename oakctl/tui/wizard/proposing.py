"""Which host becomes what: a proposal from what hosts are, and the fleet that follows. Pure.

Belongs here: the rules of the proposal, its reasons, and what is wrong with a choice. Does not
belong here: the plan (`oakctl.fleet.planner`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from oakctl.errors import OakError
from oakctl.fleet.state import Wanted
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import ClusterView, HostMachine, HostView, WorkerView
from oakctl.orchestration.cluster import bus_server
from oakctl.tui.viewmodels import words
from oakctl.tui.wizard.draft import Role

FIRST_CLUSTER = "edge"
_HAS = re.compile(r"(orchestrator of |worker )([a-z0-9-]+)")


def propose(
    hosts: Sequence[HostView], machines: Mapping[str, HostMachine], unusable: Collection[str] = ()
) -> dict[str, Role]:
    """A role for each host: what it has stays; the others join the first cluster there is.

    Where there is none, the host with the most memory that has no GPU orchestrates a new one: a
    GPU is for applications. A host that is alone is both.
    """
    roles = {host.name: role_of(host) for host in hosts if host.role}
    free = [host for host in hosts if not host.role and host.name not in unusable]
    clusters = [role.cluster for role in roles.values() if role.orchestrator]
    cluster = clusters[0] if clusters else FIRST_CLUSTER
    if not clusters and free:
        head = min(free, key=lambda host: _fitness(machines.get(host.name)))
        free.remove(head)
        roles[head.name] = Role(cluster, orchestrator=True, worker=not free)
    roles.update({host.name: Role(cluster, worker=True) for host in free})
    return {host.name: roles.get(host.name, Role()) for host in hosts}


def _fitness(machine: HostMachine | None) -> tuple[int, int, int]:
    """The lowest orchestrates; among equals the first one."""
    if machine is None:
        return (2, 0, 0)
    return (min(machine.gpus, 1), -machine.memory_mb, -machine.cpus)


def role_of(host: HostView) -> Role:
    """What a host is already, as the root words it."""
    role = Role()
    for kind, cluster in _HAS.findall(host.role):
        if kind.startswith("orchestrator"):
            role = Role(cluster, True, role.worker)
        else:
            role = Role(role.cluster or cluster, role.orchestrator, True)
    return role


def describe(machine: HostMachine | None) -> str:
    """What a host is, in a few words."""
    if machine is None:
        return "not looked at"
    parts = [
        machine.device or machine.system,
        machine.architecture,
        f"{words.count(machine.cpus, 'core')}, {words.memory(machine.memory_mb)}",
    ]
    if machine.gpus:
        parts.append(words.count(machine.gpus, "GPU"))
    if machine.docker:
        parts.append("Docker")
    return ", ".join(part for part in parts if part)


def faults(roles: Mapping[str, Role]) -> list[str]:
    """What is wrong with a choice of roles."""
    used = [role for role in roles.values() if role.cluster and (role.orchestrator or role.worker)]
    if not used:
        return ["no host has a role"]
    found = []
    for cluster in dict.fromkeys(role.cluster for role in used):
        heads = sum(role.orchestrator for role in used if role.cluster == cluster)
        if heads != 1:
            found.append(f"cluster {cluster} has {heads or 'no'} orchestrators, and needs one")
        if not any(role.worker for role in used if role.cluster == cluster):
            found.append(f"cluster {cluster} has no worker")
    return found


def wanted(
    hosts: Sequence[HostView],
    roles: Mapping[str, Role],
    clusters: Sequence[ClusterView] = (),
    workers: Sequence[WorkerView] = (),
) -> Wanted:
    """The fleet of these roles; what is there already is asked for as it is."""
    known = {each.name: each for each in clusters}
    there = {each.host: each.asked for each in workers if each.asked is not None}
    asked_clusters: list[ClusterCreate] = []
    asked_workers: list[WorkerAdd] = []
    for host in hosts:
        role = roles.get(host.name, Role())
        if role.cluster and role.orchestrator:
            view = known.get(role.cluster)
            made = ClusterCreate(role.cluster, host.name)
            if view is not None:
                made = ClusterCreate(role.cluster, host.name, view.policy, view.location)
            asked_clusters.append(made)
        if role.cluster and role.worker:
            name = _worker_name(host.name)
            asked_workers.append(there.get(host.name) or WorkerAdd(name, role.cluster, host.name))
    named = {each.host for each in asked_clusters} | {each.host for each in asked_workers}
    return Wanted(
        tuple(host for host in hosts if host.name in named),
        tuple(asked_clusters),
        tuple(asked_workers),
    )


def _worker_name(host: str) -> str:
    try:
        return bus_server.check_worker_name(host)
    except OakError:
        return f"{host[:28]}-w"
