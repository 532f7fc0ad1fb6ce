"""What the name of a target means in this fleet: which host, and what of it. Pure.

Belongs here: names of instances, workers, clusters and nodes, looked up in what the root knows;
what is no part of the fleet is refused. Does not belong here: doing anything there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.chaos.faults import UNITS, Fault, Kind
from oakctl.errors import Conflict, NotFound, UsageError
from oakctl.model.views import ClusterView, HostView, InstanceView, WorkerView


@dataclass(frozen=True)
class Fleet:
    """What the root knows, and all that a fault may be aimed at."""

    hosts: tuple[HostView, ...] = ()
    clusters: tuple[ClusterView, ...] = ()
    workers: tuple[WorkerView, ...] = ()
    instances: tuple[InstanceView, ...] = ()

    @property
    def nodes(self) -> tuple[HostView, ...]:
        """Hosts with a role in the fleet."""
        used = {view.host for view in self.clusters} | {view.host for view in self.workers}
        return tuple(host for host in self.hosts if host.name in used)

    def loads(self, host: str) -> int:
        """How many instances are placed on a host's worker."""
        there = {(view.cluster, view.name) for view in self.workers if view.host == host}
        return sum((one.cluster, one.worker) in there for one in self.instances)

    def behind(self, host: HostView) -> tuple[str, ...]:
        """Hosts that are reached through this one."""
        forms = (f"@{host.address}", f"@{host.address}:{host.port or 22}", host.address)
        return tuple(
            each.name for each in self.hosts if any(hop.endswith(forms) for hop in each.jump)
        )


@dataclass(frozen=True)
class Aim:
    """Where a fault takes place: its host, and the other one of a partition.

    `subjects` are the names by which the timeline will speak of what it hits.
    """

    host: HostView
    other: HostView | None = None
    instance: str = ""  # the whole name
    subjects: tuple[str, ...] = ()
    consequence: str = ""  # what follows, in words, for the question


def aim(fleet: Fleet, fault: Fault) -> Aim:
    """Where `fault` takes place; raises NotFound for what is no part of the fleet, UsageError for
    a name of several things, Conflict for what no SSH of ours leads to."""
    if fault.kind is Kind.KILL_INSTANCE:
        return _instance(fleet, fault)
    if fault.kind is Kind.KILL_AGENT:
        return _agent(fleet, fault)
    if fault.kind in UNITS:
        return _cluster(fleet, fault)
    host = node(fleet, fault.target)
    if fault.kind is Kind.PARTITION:
        return _partition(fleet, host, node(fleet, fault.peer))
    return Aim(host, subjects=_of(fleet, host), consequence=_consequence(fleet, fault, host))


def node(fleet: Fleet, name: str) -> HostView:
    """The host that a node's name means: a host's with a role, `cluster/worker`, or a worker's."""
    found = {host.name: host for host in fleet.nodes}
    if name in found:
        return found[name]
    hosts = {view.host for view in _workers(fleet, name)}
    if len(hosts) > 1:
        raise _ambiguous(name, [f"{view.cluster}/{view.name}" for view in _workers(fleet, name)])
    for host in hosts:
        if not host:
            raise _without_ssh(name)
        return found[host]
    if any(host.name == name for host in fleet.hosts):
        raise NotFound(
            f"host {name} has no role in the fleet, and faults are made in the fleet alone",
            hint="oakctl host ls shows the roles",
        )
    raise NotFound(f"there is no node {name} in the fleet", hint="oakctl worker ls; oakctl host ls")


def _workers(fleet: Fleet, name: str) -> list[WorkerView]:
    return [view for view in fleet.workers if name in (view.name, f"{view.cluster}/{view.name}")]


def _instance(fleet: Fleet, fault: Fault) -> Aim:
    view = next((one for one in fleet.instances if one.name == fault.target), None)
    if view is None:
        raise NotFound(f"there is no instance {fault.target}", hint="oakctl instance ls")
    if not view.worker:
        raise Conflict(
            f"{view.name} is on no worker: it is {view.state.value}",
            hint=f"oakctl explain {view.job_name}",
        )
    for worker in fleet.workers:
        if (worker.cluster, worker.name) == (view.cluster, view.worker):
            host = _host(fleet, worker)
            return Aim(host, instance=view.name, subjects=(view.name,), consequence=_killed(fault))
    raise NotFound(
        f"{view.name} is on {view.cluster}/{view.worker}, which is no worker of this root",
        hint="oakctl worker ls",
    )


def _killed(fault: Fault) -> str:
    if fault.for_s:
        return "all of it is killed, and again whenever it is back"
    return "all of it is killed at once; its worker starts it again"


def _agent(fleet: Fleet, fault: Fault) -> Aim:
    found = _workers(fleet, fault.target)
    if not found:
        raise NotFound(f"there is no worker {fault.target}", hint="oakctl worker ls")
    if len(found) > 1:
        raise _ambiguous(fault.target, [f"{view.cluster}/{view.name}" for view in found])
    if fault.for_s:
        text = "it is taken for dead after some seconds, and its instances are placed elsewhere"
    else:
        text = "its instances go on; its supervisor starts it again"
    host = _host(fleet, found[0])
    # For long enough, what is placed on it is lost too.
    subjects = _of(fleet, host) if fault.for_s else (found[0].name,)
    return Aim(host, subjects=subjects, consequence=text)


def _cluster(fleet: Fleet, fault: Fault) -> Aim:
    view = next((one for one in fleet.clusters if one.name == fault.target), None)
    if view is None:
        raise NotFound(f"there is no cluster {fault.target}", hint="oakctl cluster ls")
    host = next((each for each in fleet.hosts if each.name == view.host), None)
    if host is None:
        raise _without_ssh(fault.target)
    what = "its bus" if fault.kind is Kind.KILL_BUS else "its orchestrator"
    text = f"the workers of {view.name} run on; nothing is placed anew without {what}"
    workers = [each.name for each in fleet.workers if each.cluster == view.name]
    return Aim(host, subjects=(view.name, *workers), consequence=text)


def _partition(fleet: Fleet, one: HostView, other: HostView) -> Aim:
    if one.name == other.name:
        raise UsageError(f"both ends are host {one.name}", hint="name two nodes")
    text = "neither hears anything that the other sends by its own addresses"
    subjects = tuple(dict.fromkeys((*_of(fleet, one), *_of(fleet, other))))
    return Aim(one, other, subjects=subjects, consequence=text)


def _consequence(fleet: Fleet, fault: Fault, host: HostView) -> str:
    count = fleet.loads(host.name)
    loads = f"{count} instance{'s' * (count != 1)} on it" if count else "no instance on it"
    if fault.kind is Kind.POWER_CUT:
        stays = "it stays off until `oakctl chaos heal`" if host.lab else "it starts again at once"
        back = "" if fault.for_s else f"; {stays}"
        return f"all on it ends at once, {loads}; what was not written to its disk is lost{back}"
    if fault.kind is Kind.ISOLATE:
        behind = fleet.behind(host)
        also = f"; {', '.join(behind)} cannot be reached through it then" if behind else ""
        return f"all its traffic is dropped but our SSH, {loads}{also}"
    if fault.kind is Kind.SLOW:
        return f"all its traffic is slowed down, our SSH too, {loads}"
    return f"nothing on it can write more than {fault.leave_mb:g} MiB, {loads}"


def _of(fleet: Fleet, host: HostView) -> tuple[str, ...]:
    """What the timeline calls a host: its workers, its clusters, and what is placed on it."""
    workers = [view for view in fleet.workers if view.host == host.name]
    names = [view.name for view in workers]
    names += [view.name for view in fleet.clusters if view.host == host.name]
    there = {(view.cluster, view.name) for view in workers}
    names += [one.name for one in fleet.instances if (one.cluster, one.worker) in there]
    return tuple(dict.fromkeys(names))


def _host(fleet: Fleet, worker: WorkerView) -> HostView:
    for host in fleet.hosts:
        if host.name == worker.host:
            return host
    raise _without_ssh(f"{worker.cluster}/{worker.name}")


def _without_ssh(name: str) -> Conflict:
    return Conflict(
        f"{name} has joined by a token: no SSH of ours leads to its machine",
        hint="its owner can stop it there; oakctl host add names machines that answer SSH",
    )


def _ambiguous(name: str, found: Sequence[str]) -> UsageError:
    return UsageError(
        f"{name!r} may be any of {len(found)} workers", hint="name it with its cluster",
        details=tuple(found),
    )  # fmt: skip
