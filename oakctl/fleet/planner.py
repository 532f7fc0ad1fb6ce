"""The difference between what is wanted and what is seen. Pure.

Belongs here: which change each thing needs, and which cannot be made. Does not belong here:
asking (`fleet.looking`), order and doing (`fleet.applier`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from oakctl.errors import ExitCode
from oakctl.fleet.plan import (
    CHANGE,
    CREATE,
    FORGET,
    REGISTER,
    REMOVE,
    REPAIR,
    REPLACE,
    RESUME,
    UPGRADE,
    Change,
    Plan,
)
from oakctl.fleet.state import Checked, Fault, Key, Seen, Wanted, worker_name
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import ClusterView, HostView, WorkerView
from oakctl.orchestration.root import differences

# Steps of a host (`playbooks/base.py`) that do not hold when this program is another release.
RELEASE_STEPS = ("base: node archive", "base: switch")
BLOCK = "block"  # a finding of this severity: the host cannot be used as it is


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
        findings=seen.findings,
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


def upgrades(plan: Plan) -> Plan:
    """Of a plan what brings newer releases; all else is left as it is, and named as `left`."""
    newer = [each for each in plan.changes if each.action == UPGRADE]
    left = (each for each in plan.changes if each.action != UPGRADE or each.differences)
    changes = tuple(replace(each, differences=()) for each in newer)
    return replace(plan, changes=changes, extras=(), left=tuple(left))


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
    differing = tuple(
        differences.differs(title, before, after)
        for title, before, after in (
            ("address", known.place, host.place),
            ("user", known.user, host.user),
            ("identity_file", known.identity_file, host.identity_file),
            ("jump", ", ".join(known.jump), ", ".join(host.jump)),
        )
        if before != after
    )
    if not differing:
        return None
    change = Change(CHANGE, "host", host.name, host.name, differing)
    if known.role and known.place != host.place:
        return replace(
            change,
            blocked=f"it is {known.role} at {known.place}",
            hint="register the other machine by another name",
        )
    return change


def _where(host: HostView) -> str:
    user = f"{host.user}@" if host.user else ""
    return f"{user}{host.place}"


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
        return _possible(change, checked, seen)
    if known.host != wanted.host:
        return Change(
            CHANGE,
            "cluster",
            wanted.name,
            wanted.host,
            (differences.differs("orchestrator", known.host, wanted.host),),
            blocked="an orchestrator does not move",
            hint=f"oakctl cluster remove {wanted.name}, then apply again",
        )
    differing = differences.of_cluster(as_asked(known), wanted)
    is_old = known.release not in ("", seen.release)
    action = _action(known.status, differing, checked, is_old=is_old)
    if action is None:
        return None
    change = Change(action, "cluster", wanted.name, wanted.host, differing, steps)
    return _possible(change, checked, seen)


def as_asked(cluster: ClusterView) -> ClusterCreate:
    """The request that a cluster as it is would come from."""
    return ClusterCreate(cluster.name, cluster.host, cluster.policy, cluster.location)


# --- workers ---


def _worker(request: WorkerAdd, seen: Seen, leaving: frozenset[Key]) -> Change | None:
    name = worker_name(request)
    checked = _check_of(seen, name)
    known = next((each for each in seen.workers if worker_name(each) == name), None)
    steps = _steps(checked)
    if known is not None and known.host == request.host:
        differing = _differing(known.asked or request, request)
        facts = known.summary.facts if known.summary is not None else None
        is_old = facts is not None and facts.release not in ("", seen.release)
        action = _action(known.status, differing, checked, is_old=is_old)
        if action is None:
            return None
        change = Change(action, "worker", name, request.host, differing, steps)
        return _possible(change, checked, seen)
    if known is None:
        change = Change(CREATE, "worker", name, request.host, steps=steps)
    else:
        moved = (differences.differs("host", known.host, request.host),)
        change = Change(REPLACE, "worker", name, request.host, moved, steps)
    other = next((w for w in seen.workers if w.host == request.host), None)
    if other is not None and ("worker", worker_name(other)) not in leaving:
        change = _taken(change, f"worker {worker_name(other)}")
    return _possible(change, checked, seen)


def _differing(known: WorkerAdd, wanted: WorkerAdd) -> tuple[str, ...]:
    found = differences.of_worker(known, wanted)
    if known.docker == wanted.docker:
        return found
    return (*found, differences.differs("docker", *("yes" * d.docker for d in (known, wanted))))


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


# --- all kinds ---


def _action(status: str, differing: Sequence[str], checked: Checked, *, is_old: bool) -> str | None:
    """What a thing on the right host needs; None: nothing.

    `is_old`: its process runs from another release, though its host may have the new one already.
    What is changed gets this program's release with that, so where that is a newer one it is an
    upgrade first: in its turn, and taken back when it does no good.
    """
    if status == "removing":
        return REPLACE
    if status in ("creating", "joining"):
        return RESUME
    new = any(step.step.startswith(RELEASE_STEPS) for step in checked.missing)
    if checked.missing and (new or is_old):
        return UPGRADE
    if differing:
        return CHANGE
    return REPAIR if checked.missing else None


def _steps(checked: Checked) -> tuple[str, ...]:
    return tuple(f"{step.step}: {step.message}" for step in checked.missing)


def _possible(change: Change, checked: Checked, seen: Seen) -> Change:
    """`change`, blocked where its host does not answer or cannot be used."""
    if change.blocked:
        return change
    if (fault := checked.fault) is not None:
        return replace(change, blocked=fault.message, hint=fault.hint, exit_code=fault.exit_code)
    for finding in seen.findings:
        if (finding.host, finding.severity) == (change.host, BLOCK):
            reason = f"{finding.host}: {finding.message}"
            failed = int(ExitCode.FAILED)
            return replace(change, blocked=reason, hint=finding.remedy, exit_code=failed)
    return change


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
