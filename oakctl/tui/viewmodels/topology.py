"""The fleet as a tree of rows: root, clusters, workers, instances.

Belongs here: who is drawn below whom, and what is told of each. Whatever has no place (an
instance that waits, a worker of a cluster that is gone) has a branch of its own with the reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from oakctl.model.resources import Resources
from oakctl.model.views import ClusterView, InstanceView, WorkerView
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.ages import age_cell
from oakctl.tui.viewmodels.bars import bar
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Cell, cell, instance_detail, status_cell
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.status import Tone

COLUMNS = ("Fleet", "Status", "Seen", "Capacity, use, reason")
Cells = tuple[Cell, Cell, Cell]


@dataclass
class _Node:
    key: str
    name: str
    cells: Callable[[], Cells]
    fields: dict[str, str]
    children: list[_Node] = field(default_factory=list)


@dataclass
class TreeRow:
    """A row whose cells are made when it is drawn: of thousands only a few are."""

    key: str
    name: str  # with the lines of the tree
    rest: Callable[[], Cells]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells."""
        return (cell(self.name), *self.rest())


def rows(
    snapshot: Snapshot,
    now: float,
    folded: frozenset[str] = frozenset(),
    shown: Filter = NO_FILTER,
) -> tuple[TreeRow, ...]:
    """The tree as rows, drawn with lines; what is in `folded` hides what is below it.

    With a filter, what it lets through is shown with everything above it.
    """
    top = _tree(snapshot, now)
    if shown:
        top.children = [node for node in top.children if _kept(node, shown)]
    return tuple(_drawn(top, "", "", folded))


def _tree(snapshot: Snapshot, now: float) -> _Node:
    top = _Node("root", "root", lambda: _root_cells(snapshot, now), {})
    placed = _by_worker(snapshot.instances)
    known = {cluster.name for cluster in snapshot.clusters}
    below: dict[str, list[WorkerView]] = defaultdict(list)
    for worker in snapshot.workers:
        below[worker.cluster].append(worker)
    for cluster in sorted(snapshot.clusters, key=lambda view: view.name):
        node = _cluster_node(cluster, below[cluster.name], now)
        node.children = _worker_nodes(below[cluster.name], placed, now)
        top.children.append(node)
    for name in sorted(below.keys() - known):
        node = _look(f"cluster:{name}", name, "cluster is not known")
        node.children = _worker_nodes(below[name], placed, now)
        top.children.append(node)
    if placed:
        # Everything that has a node was taken out of `placed`.
        rest = [instance for group in placed.values() for instance in group]
        waiting = _look("unplaced", "unplaced", _reasons(rest))
        waiting.children = [_instance_node(view, where=True) for view in _in_order(rest)]
        top.children.append(waiting)
    return top


def _by_worker(instances: tuple[InstanceView, ...]) -> dict[tuple[str, str], list[InstanceView]]:
    groups: dict[tuple[str, str], list[InstanceView]] = defaultdict(list)
    for instance in instances:
        groups[instance.cluster, instance.worker].append(instance)
    return groups


def _in_order(instances: list[InstanceView]) -> list[InstanceView]:
    return sorted(instances, key=lambda view: (view.job_name, view.number))


def _reasons(waiting: list[InstanceView]) -> str:
    """ "5 instances: 4 × 0 vgpus free; 1 × …", the most common reasons first."""
    told = words.count(len(waiting), "instance")
    reasons = Counter(view.reason for view in waiting if view.reason)
    if not reasons:
        return told
    parts = [f"{many} × {reason}" for reason, many in reasons.most_common(2)]
    more = len(reasons) - len(parts)
    return f"{told}: {'; '.join(parts)}{f'; {more} more reasons' if more else ''}"


def _root_cells(snapshot: Snapshot, now: float) -> Cells:
    root = snapshot.root
    if root is None:
        return cell("○ unknown", Tone.IDLE), cell(""), cell("")
    note = (
        f"{words.count(root.applications, 'application')}, "
        f"{words.count(root.instances_running, 'instance')} running"
    )
    if root.undelegated:
        note += f", {root.undelegated} waiting for a cluster"
    return status_cell(status.of_word("ready")), age_cell(snapshot.taken_at, now), cell(note)


def _look(key: str, name: str, note: str) -> _Node:
    cells = cell("▲ look", Tone.WARNING), cell(""), cell(note)
    return _Node(key, name, lambda: cells, {"name": name})


def _cluster_node(view: ClusterView, workers: list[WorkerView], now: float) -> _Node:
    def cells() -> Cells:
        parts = []
        if view.aggregate is not None:
            total = view.aggregate.capacity
            parts.append(capacity(total - view.aggregate.free, total, _declared(workers)))
        ready = f"{view.workers_ready}/{view.workers_total} workers, {view.policy}"
        parts.append(view.status_reason or ready)
        return (
            status_cell(status.of_cluster(view)),
            age_cell(view.last_seen, now),
            cell("  ".join(parts)),
        )

    fields = {"name": view.name, "cluster": view.name, "state": view.status}
    return _Node(f"cluster:{view.name}", view.name, cells, fields)


def _declared(workers: list[WorkerView]) -> set[str]:
    """What any of the workers only declares to have."""
    facts = [each.summary.facts for each in workers if each.summary is not None]
    return {name for found in facts if found is not None for name in found.declared}


def capacity(used: Resources, total: Resources, declared: Collection[str] = ()) -> str:
    """ "cpu ▋··· 0.5/2  mem ▌··· 64/512  gpu 1/1 declared"; memory in MiB."""
    cores = f"{words.number(used.vcpus)}/{words.number(total.vcpus)}"
    return "  ".join(
        (
            f"cpu {bar(used.vcpus, total.vcpus)} {cores}",
            f"mem {bar(used.memory_mb, total.memory_mb)} {used.memory_mb}/{total.memory_mb}",
            *words.devices_of(used, total, declared),
        )
    )


def _worker_nodes(
    workers: list[WorkerView],
    placed: dict[tuple[str, str], list[InstanceView]],
    now: float,
) -> list[_Node]:
    nodes = []
    for view in sorted(workers, key=lambda worker: worker.name):
        node = _worker_node(view, now)
        instances = placed.pop((view.cluster, view.name), [])
        node.children = [_instance_node(instance) for instance in _in_order(instances)]
        nodes.append(node)
    return nodes


def _worker_node(view: WorkerView, now: float) -> _Node:
    def cells() -> Cells:
        summary = view.summary
        seen, parts = cell("never"), []
        if summary is not None:
            seen = age_cell(summary.last_heartbeat, now)
            facts = summary.facts
            if facts is not None:
                parts.append(capacity(summary.reserved, facts.capacity, facts.declared))
                parts.append(facts.architecture)
            parts.append(f"in use {summary.usage.cpu_percent:.0f}%")
        return status_cell(status.of_worker(view)), seen, cell("  ".join(parts))

    fields = {
        "name": f"{view.cluster}/{view.name}",
        "cluster": view.cluster,
        "worker": f"{view.cluster}/{view.name}",
        "state": status.of_worker(view).word,
    }
    return _Node(f"worker:{view.cluster}/{view.name}", view.name, cells, fields)


def _instance_node(view: InstanceView, *, where: bool = False) -> _Node:
    def cells() -> Cells:
        note = instance_detail(view)
        if where and (view.cluster or view.worker):
            note = f"on {view.cluster}/{view.worker or '?'}  {note}"
        return status_cell(status.of_instance(view)), cell(""), cell(note)

    fields = {
        "name": view.name,
        "service": view.job_name,
        "state": status.of_instance(view).word,
        "reason": view.reason,
    }
    return _Node(f"instance:{view.name}", words.short_instance(view.name), cells, fields)


def _kept(node: _Node, shown: Filter) -> bool:
    """Whether a node or one below it is let through; the others below it are taken out."""
    if shown.lets(node.fields):
        return True
    node.children = [child for child in node.children if _kept(child, shown)]
    return bool(node.children)


def _drawn(node: _Node, lead: str, below: str, folded: frozenset[str]) -> Iterator[TreeRow]:
    closed = node.key in folded and bool(node.children)
    name = f"{lead}{node.name} (+{len(node.children)})" if closed else f"{lead}{node.name}"
    yield TreeRow(node.key, name, node.cells)
    if closed:
        return
    for child in node.children:
        last = child is node.children[-1]
        yield from _drawn(
            child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), folded
        )
