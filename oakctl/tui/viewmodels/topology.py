"""The fleet as a tree of rows: root, clusters, workers, instances.

Belongs here: who is drawn below whom, and what is told of each. Whatever has no place (an
instance that waits, a worker of a cluster that is gone) has a branch of its own with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from oakctl.model.views import ClusterView, InstanceView, WorkerView
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.rows import Cell, Row, cell, instance_detail, status_cell
from oakctl.tui.viewmodels.snapshot import Snapshot
from oakctl.tui.viewmodels.status import Tone

COLUMNS = ("Fleet", "Status", "Capacity", "Seen", "Notes")

# Heartbeats come each second; an age beyond three and ten of them is worth a look.
LATE_S, SILENT_S = 3.0, 10.0


@dataclass
class _Node:
    key: str
    name: str
    cells: tuple[Cell, ...]
    children: list[_Node] = field(default_factory=list)


def rows(snapshot: Snapshot, now: float, folded: frozenset[str] = frozenset()) -> tuple[Row, ...]:
    """The tree as rows, drawn with lines; what is in `folded` hides what is below it."""
    top = _Node("root", "root", _root_cells(snapshot))
    placed = _by_worker(snapshot.instances)
    known = {cluster.name for cluster in snapshot.clusters}
    for cluster in sorted(snapshot.clusters, key=lambda view: view.name):
        top.children.append(_cluster_node(cluster, snapshot.workers, placed, now))
    for name in sorted({worker.cluster for worker in snapshot.workers} - known):
        lost = _Node(f"cluster:{name}", name, _plain_cells("cluster is not known"))
        lost.children = _worker_nodes(name, snapshot.workers, placed, now)
        top.children.append(lost)
    if placed:
        # Everything that has a node was taken out of `placed`.
        rest = [instance for group in placed.values() for instance in group]
        waiting = _Node("unplaced", "unplaced", _plain_cells(words.count(len(rest), "instance")))
        waiting.children = [_instance_node(view, where=True) for view in _in_order(rest)]
        top.children.append(waiting)
    return tuple(_drawn(top, "", "", folded))


def _by_worker(instances: tuple[InstanceView, ...]) -> dict[tuple[str, str], list[InstanceView]]:
    groups: dict[tuple[str, str], list[InstanceView]] = defaultdict(list)
    for instance in instances:
        groups[instance.cluster, instance.worker].append(instance)
    return groups


def _in_order(instances: list[InstanceView]) -> list[InstanceView]:
    return sorted(instances, key=lambda view: (view.job_name, view.number))


def _root_cells(snapshot: Snapshot) -> tuple[Cell, ...]:
    root = snapshot.root
    if root is None:
        return (cell("○ unknown", Tone.IDLE), cell(""), cell(""), cell(""))
    note = (
        f"{words.count(root.applications, 'application')}, "
        f"{words.count(root.instances_running, 'instance')} running"
    )
    if root.undelegated:
        note += f", {root.undelegated} waiting for a cluster"
    return (status_cell(status.of_word("ready")), cell(""), cell(""), cell(note))


def _plain_cells(note: str) -> tuple[Cell, ...]:
    return (cell("▲ look", Tone.WARNING), cell(""), cell(""), cell(note))


def _cluster_node(
    view: ClusterView,
    workers: tuple[WorkerView, ...],
    placed: dict[tuple[str, str], list[InstanceView]],
    now: float,
) -> _Node:
    capacity = ""
    if view.aggregate is not None:
        total = view.aggregate.capacity
        capacity = words.used_of(total - view.aggregate.free, total, _declared(view.name, workers))
    note = view.status_reason or f"{view.workers_ready}/{view.workers_total} workers, {view.policy}"
    node = _Node(
        f"cluster:{view.name}",
        view.name,
        (
            status_cell(status.of_cluster(view)),
            cell(capacity),
            _age_cell(view.last_seen, now),
            cell(note),
        ),
    )
    node.children = _worker_nodes(view.name, workers, placed, now)
    return node


def _declared(cluster: str, workers: tuple[WorkerView, ...]) -> set[str]:
    """What any worker of the cluster only declares to have."""
    facts = [w.summary.facts for w in workers if w.cluster == cluster and w.summary is not None]
    return {name for found in facts if found is not None for name in found.declared}


def _worker_nodes(
    cluster: str,
    workers: tuple[WorkerView, ...],
    placed: dict[tuple[str, str], list[InstanceView]],
    now: float,
) -> list[_Node]:
    nodes = []
    for view in sorted(workers, key=lambda worker: worker.name):
        if view.cluster != cluster:
            continue
        node = _worker_node(view, now)
        instances = placed.pop((cluster, view.name), [])
        node.children = [_instance_node(instance) for instance in _in_order(instances)]
        nodes.append(node)
    return nodes


def _worker_node(view: WorkerView, now: float) -> _Node:
    summary = view.summary
    capacity, seen, note = "", cell("never"), ""
    if summary is not None:
        seen = _age_cell(summary.last_heartbeat, now)
        if summary.facts is not None:
            capacity = words.used_of(
                summary.reserved, summary.facts.capacity, summary.facts.declared
            )
            note = f"{summary.facts.architecture}  cpu {summary.usage.cpu_percent:.0f}%"
    return _Node(
        f"worker:{view.cluster}/{view.name}",
        view.name,
        (status_cell(status.of_worker(view)), cell(capacity), seen, cell(note)),
    )


def _instance_node(view: InstanceView, *, where: bool = False) -> _Node:
    note = instance_detail(view)
    if where and (view.cluster or view.worker):
        note = f"on {view.cluster}/{view.worker or '?'}  {note}"
    return _Node(
        f"instance:{view.name}",
        words.short_instance(view.name),
        (status_cell(status.of_instance(view)), cell(""), cell(""), cell(note)),
    )


def _age_cell(since: float, now: float) -> Cell:
    elapsed = now - since
    tone = None
    if since > 0 and elapsed > SILENT_S:
        tone = Tone.BAD
    elif since > 0 and elapsed > LATE_S:
        tone = Tone.WARNING
    return cell(words.age(since, now), tone)


def _drawn(node: _Node, lead: str, below: str, folded: frozenset[str]) -> Iterator[Row]:
    closed = node.key in folded and bool(node.children)
    name = f"{lead}{node.name} (+{len(node.children)})" if closed else f"{lead}{node.name}"
    yield Row(node.key, (cell(name), *node.cells))
    if closed:
        return
    for child in node.children:
        last = child is node.children[-1]
        yield from _drawn(
            child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "), folded
        )
