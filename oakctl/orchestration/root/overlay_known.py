"""What the root knows of the overlay of each cluster, in one form for all that follows. Pure.

Belongs here: finding nodes, tables and ways in answers of any age. Does not belong here: asking
(`overlay`), the views (`overlay_status`, `overlay_trace`, `overlay_route`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oakctl.errors import NotFound, UsageError
from oakctl.model.documents import ServiceTable
from oakctl.model.messages import ClusterState
from oakctl.model.overlay_asking import NodeKnown, NodeSight, OverlayAnswer
from oakctl.model.overlay_report import HOST, LOOPBACK, PathReport
from oakctl.overlay.addressing import gateway_of

TableKey = tuple[str, str]  # service, the cluster whose instances it lists


@dataclass(frozen=True)
class Known:
    """The last of one cluster. `fault`: why it could not be asked now."""

    cluster: str
    heard_at: float = 0.0
    answer: OverlayAnswer | None = None
    fault: str = ""

    def node(self, worker: str) -> NodeKnown | None:
        """One of its nodes."""
        nodes = self.answer.nodes if self.answer is not None else ()
        return next((each for each in nodes if each.worker == worker), None)

    def table(self, key: TableKey) -> ServiceTable | None:
        """A table as this cluster has it, which may be another cluster's."""
        tables = self.answer.tables if self.answer is not None else ()
        return next((each for each in tables if (each.job_name, each.cluster) == key), None)

    def sight(self, worker: str) -> NodeSight | None:
        """What one of its nodes said, if it was asked."""
        sights = self.answer.sights if self.answer is not None else ()
        return next((each for each in sights if each.worker == worker), None)

    def silence(self, worker: str) -> str:
        """Why that node said nothing."""
        if self.fault or self.answer is None:
            return f"cluster {self.cluster} does not answer: {self.fault or 'not asked yet'}"
        return self.answer.silent.get(worker, "it was not asked")


@dataclass(frozen=True)
class Fleet:
    """All clusters by name."""

    clusters: Mapping[str, Known] = field(default_factory=dict)

    def newest(self) -> dict[TableKey, ServiceTable]:
        """The newest of each table that any cluster has."""
        found: dict[TableKey, ServiceTable] = {}
        for known in self.clusters.values():
            for table in known.answer.tables if known.answer is not None else ():
                key = (table.job_name, table.cluster)
                if key not in found or found[key].generation < table.generation:
                    found[key] = table
        return found

    def nodes(self) -> Iterable[tuple[Known, NodeKnown]]:
        """Every node, by cluster and name."""
        for name in sorted(self.clusters):
            known = self.clusters[name]
            for node in known.answer.nodes if known.answer is not None else ():
                yield known, node

    def find(self, name: str) -> tuple[Known, NodeKnown]:
        """A node by NAME or CLUSTER/NAME; raises NotFound, and UsageError where it is several."""
        cluster, _, worker = name.rpartition("/")
        found = [
            (known, node)
            for known, node in self.nodes()
            if node.worker == worker and cluster in ("", known.cluster)
        ]
        if not found:
            raise NotFound(f"there is no node {name!r}", hint="oakctl overlay status")
        if len(found) > 1:
            choices = ", ".join(full(known, node) for known, node in found)
            raise UsageError(f"there is more than one node {worker}", hint=f"one of {choices}")
        return found[0]


def full(known: Known, node: NodeKnown) -> str:
    """CLUSTER/WORKER."""
    return f"{known.cluster}/{node.worker}"


def driver_of(node: NodeKnown) -> str:
    """Which overlay a node has; empty: it has not said."""
    if node.report is not None:
        return node.report.driver
    return node.facts.overlay_driver if node.facts is not None else ""


def mode_of(node: NodeKnown) -> str:
    """What its overlay can do; empty: it has not said."""
    if node.report is not None:
        return node.report.mode
    driver = driver_of(node)
    return driver if driver in (LOOPBACK, HOST) else ""


def reason_of(node: NodeKnown) -> str:
    """Why it can do no more."""
    if node.report is not None and node.report.reason:
        return node.report.reason
    return node.facts.overlay_reason if node.facts is not None else ""


def node_of(instance: str) -> str:
    """The own address of the node that an instance's address belongs to; empty for no address.

    What nodes say is not believed to be one.
    """
    try:
        return gateway_of(instance)
    except ValueError:
        return ""


def way(node: NodeKnown, cluster: str, worker: str) -> PathReport | None:
    """What a node told of its way to another one."""
    paths = node.report.paths if node.report is not None else ()
    return next((p for p in paths if (p.cluster, p.worker) == (cluster, worker)), None)


def from_state(state: ClusterState) -> OverlayAnswer:
    """What a cluster said before, where it never was asked for its overlay."""
    nodes = tuple(
        NodeKnown(each.name, each.status, each.last_heartbeat, each.subnet, each.facts)
        for each in state.workers
    )
    return OverlayAnswer(state.cluster, state.sent_at, nodes, state.tables)
