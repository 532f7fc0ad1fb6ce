"""The difference between what is wanted and what is seen. Pure.

Belongs here: which change each thing needs, and which cannot be made. Does not belong here:
asking (`fleet.looking`), order and doing (`fleet.applier`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace

from oakctl.fleet.plan import (
    CHANGE,
    CREATE,
    FORGET,
    REGISTER,
    REMOVE,
    REPAIR,
    REPLACE,
    RESUME,
    Change,
    Plan,
)
from oakctl.fleet.state import Checked, Fault, Key, Seen, Wanted, worker_name
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.resources import Location, Resources
from oakctl.model.views import ClusterView, HostView, WorkerView


def plan(wanted: Wanted, seen: Seen, *, prune: bool = False) -> Plan:
    """Every change that makes what is seen as wanted; with `prune` nothing else is left."""
    extras = tuple(_extras(wanted, seen))
    going = frozenset(change.key for change in extras) if prune else frozenset()
    leaving = _leaving(wanted, seen, going)
    found = [
        *(_host(host, seen) for host in wanted.hosts),
        *(_cluster(each, seen, going) for each in wanted.clusters),
        *(_worker(each, seen, leaving) for each in wanted.workers),
    ]
    changes = [change for change in found if change is not None]
    return Plan(
        changes=(*changes, *(extras if prune else ())),
        extras=() if prune else extras,
        faults=_faults(seen),
        unchanged=len(found) - len(changes),
        restarts=tuple(step for each in seen.checks.values() for step in each.restarts),
    )


def destruction(wanted: Wanted, seen: Seen, *, prune: bool = False) -> Plan:
    """Every removal that leaves nothing of what the file names.

    A worker that is not in the file keeps its cluster, unless `prune` is given.
    """
    clusters = {each.name for each in wanted.clusters}
    workers = {worker_name(each) for each in wanted.workers}
    named = {host.name for host in wanted.hosts}
    changes: list[Change] = []
    extras: list[Change] = []
    for worker in seen.workers:
        if worker.cluster in clusters:
            listed = worker_name(worker) in workers
            (changes if listed or prune else extras).append(_remove_worker(worker))
    kept = {change.name.partition("/")[0]: change.name for change in extras}
    changes += [
        _destroyed(cluster, kept.get(cluster.name, ""))
        for cluster in seen.clusters
        if cluster.name in clusters
    ]
    going = {change.key for change in changes if not change.blocked}
    for host in seen.hosts:
        roles = [key for key in _roles(host.name, seen) if key not in going]
        if host.name in named and not roles:
            changes.append(Change(FORGET, "host", host.name, host.name))
    return Plan(tuple(changes), tuple(extras))


def _destroyed(cluster: ClusterView, kept: str) -> Change:
    change = Change(REMOVE, "cluster", cluster.name, cluster.host)
    if not kept:
        return change
    return replace(
        change,
        blocked=f"worker {kept} is not in the file",
        hint="--prune takes it along",
    )


# --- hosts ---


def _host(host: HostView, seen: Seen) -> Change | None:
    known = next((each for each in seen.hosts if each.name == host.name), None)
    if known is None:
        return Change(REGISTER, "host", host.name, host.name, (f"at {_where(host)}",))
    differences = tuple(
        _differs(title, before, after)
        for title, before, after in (
            ("address", f"{known.address}:{known.port}", f"{host.address}:{host.port}"),
            ("user", known.user, host.user),
            ("identity_file", known.identity_file, host.identity_file),
            ("jump", ", ".join(known.jump), ", ".join(host.jump)),
        )
        if before != after
    )
    if not differences:
        return None
    change = Change(CHANGE, "host", host.name, host.name, differences)
    if known.role and (known.address, known.port) != (host.address, host.port):
        return replace(
            change,
            blocked=f"it is {known.role} at {known.address}:{known.port}",
            hint="register the other machine by another name",
        )
    return change


def _where(host: HostView) -> str:
    user = f"{host.user}@" if host.user else ""
    return f"{user}{host.address}:{host.port}"


# --- clusters ---


def _cluster(wanted: ClusterCreate, seen: Seen, going: frozenset[Key]) -> Change | None:
    checked = seen.checks.get(("cluster", wanted.name), Checked())
    known = next((each for each in seen.clusters if each.name == wanted.name), None)
    steps = _steps(checked)
    if known is None:
        change = Change(CREATE, "cluster", wanted.name, wanted.host, steps=steps)
        other = next((c for c in seen.clusters if c.host == wanted.host), None)
        if other is not None and ("cluster", other.name) not in going:
            change = _taken(change, f"the orchestrator of {other.name}")
        return _reachable(change, checked)
    if known.host != wanted.host:
        return Change(
            CHANGE,
            "cluster",
            wanted.name,
            wanted.host,
            (_differs("orchestrator", known.host, wanted.host),),
            blocked="an orchestrator does not move",
            hint=f"oakctl cluster remove {wanted.name}, then apply again",
        )
    differences = tuple(_cluster_differences(wanted, known))
    action = _action(known.status, differences, steps)
    if action is None:
        return None
    change = Change(action, "cluster", wanted.name, wanted.host, differences, steps)
    return _reachable(change, checked)


def _cluster_differences(wanted: ClusterCreate, known: ClusterView) -> Iterator[str]:
    if wanted.policy != known.policy:
        yield _differs("policy", known.policy, wanted.policy)
    if wanted.location != known.location:
        yield _differs("location", _place(known.location), _place(wanted.location))


# --- workers ---


def _worker(request: WorkerAdd, seen: Seen, leaving: frozenset[Key]) -> Change | None:
    name = worker_name(request)
    checked = _check_of(seen, name)
    known = next((each for each in seen.workers if worker_name(each) == name), None)
    steps = _steps(checked)
    if known is not None and known.host == request.host:
        differences = tuple(_worker_differences(request, known.asked))
        action = _action(known.status, differences, steps)
        if action is None:
            return None
        change = Change(action, "worker", name, request.host, differences, steps)
        return _reachable(change, checked)
    if known is None:
        change = Change(CREATE, "worker", name, request.host, steps=steps)
    else:
        moved = (_differs("host", known.host, request.host),)
        change = Change(REPLACE, "worker", name, request.host, moved, steps)
    other = next((w for w in seen.workers if w.host == request.host), None)
    if other is not None and ("worker", worker_name(other)) not in leaving:
        change = _taken(change, f"worker {worker_name(other)}")
    return _reachable(change, checked)


def _leaving(wanted: Wanted, seen: Seen, gone: frozenset[Key]) -> frozenset[Key]:
    """`gone`, and every worker that can move: its new host answers, and is or becomes free.

    One that stays where it is keeps those away that would move there, and so on.
    """
    homes = {worker_name(worker): worker.host for worker in seen.workers}
    moves = {
        worker_name(each): each.host
        for each in wanted.workers
        if homes.get(worker_name(each), each.host) != each.host
        and _check_of(seen, worker_name(each)).fault is None
    }
    while True:
        leaving = gone | {("worker", name) for name in moves}
        taken = {host for name, host in homes.items() if ("worker", name) not in leaving}
        stuck = [name for name, host in moves.items() if host in taken]
        if not stuck:
            return leaving
        for name in stuck:
            del moves[name]


def _check_of(seen: Seen, worker: str) -> Checked:
    return seen.checks.get(("worker", worker), Checked())


def _worker_differences(wanted: WorkerAdd, known: WorkerAdd | None) -> Iterator[str]:
    if known is None:
        return
    for field in fields(Resources):
        before, after = (
            getattr(known.contribution, field.name),
            getattr(wanted.contribution, field.name),
        )
        if before != after:
            yield _differs(
                field.name, f"{before:g}" if before else "", f"{after:g}" if after else ""
            )
    if set(wanted.declared) != set(known.declared):
        yield _differs("declared", ", ".join(known.declared), ", ".join(wanted.declared))
    if wanted.location != known.location:
        yield _differs("location", _place(known.location), _place(wanted.location))
    for key in sorted({*wanted.labels, *known.labels}):
        before, after = known.labels.get(key), wanted.labels.get(key)
        if before != after:
            yield _differs(f"label {key}", before or "", after or "")


# --- all kinds ---


def _action(status: str, differences: Sequence[str], steps: Sequence[str]) -> str | None:
    """What a thing on the right host needs; None: nothing."""
    if status == "removing":
        return REPLACE
    if status in ("creating", "joining"):
        return RESUME
    if differences:
        return CHANGE
    return REPAIR if steps else None


def _steps(checked: Checked) -> tuple[str, ...]:
    return tuple(f"{step.step}: {step.message}" for step in checked.missing)


def _reachable(change: Change, checked: Checked) -> Change:
    if checked.fault is None or change.blocked:
        return change
    fault = checked.fault
    return replace(change, blocked=fault.message, hint=fault.hint, exit_code=fault.exit_code)


def _taken(change: Change, role: str) -> Change:
    return replace(
        change,
        blocked=f"host {change.host} is {role}, which stays there",
        hint="--prune removes what is not in the file",
    )


def _extras(wanted: Wanted, seen: Seen) -> Iterator[Change]:
    """Removals of what is there and not in the file: workers, clusters, hosts."""
    workers = {worker_name(each) for each in wanted.workers}
    clusters = {each.name for each in wanted.clusters}
    hosts = {each.name for each in wanted.hosts}
    yield from (_remove_worker(w) for w in seen.workers if worker_name(w) not in workers)
    for cluster in seen.clusters:
        if cluster.name not in clusters:
            yield Change(REMOVE, "cluster", cluster.name, cluster.host)
    for host in seen.hosts:
        if host.name not in hosts:
            yield Change(FORGET, "host", host.name, host.name)


def _remove_worker(worker: WorkerView) -> Change:
    return Change(REMOVE, "worker", worker_name(worker), worker.host)


def _roles(host: str, seen: Seen) -> Iterable[tuple[str, str]]:
    yield from (("cluster", each.name) for each in seen.clusters if each.host == host)
    yield from (("worker", worker_name(each)) for each in seen.workers if each.host == host)


def _faults(seen: Seen) -> tuple[Fault, ...]:
    found = {each.fault.host: each.fault for each in seen.checks.values() if each.fault}
    return tuple(found[host] for host in sorted(found))


def _differs(title: str, before: str, after: str) -> str:
    return f"{title}: {before or '-'} → {after or '-'}"


def _place(location: Location | None) -> str:
    return f"{location.latitude:g},{location.longitude:g}" if location else ""
