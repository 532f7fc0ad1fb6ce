"""Which cluster has to be told by us where services of other clusters lead. Pure.

Clusters of one operator tell each other, once introduced (`root.peering`). So this is for those
that are not: another operator's, into which we were let. Does not belong here: sending
(`root.upkeep`), tables of a cluster's own services (`cluster`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from oakctl.model.documents import ServiceTable
from oakctl.model.service import ServiceSpec

Route: TypeAlias = tuple[str, str, str]  # to cluster, job name, of cluster
NOBODY: Mapping[str, frozenset[str]] = MappingProxyType({})


def interested(
    placed: Iterable[tuple[str, str]], specs: Mapping[str, ServiceSpec]
) -> Mapping[str, frozenset[str]]:
    """Cluster → the services that instances there talk to, or are of.

    `placed` are (cluster, job name) of instances.
    """
    found: dict[str, set[str]] = {}
    for cluster, job_name in placed:
        spec = specs.get(job_name)
        if spec is not None:
            targets = {connection.target for connection in spec.connectivity}
            found.setdefault(cluster, set()).update(targets, {job_name})
    return {cluster: frozenset(jobs) for cluster, jobs in found.items()}


def due(
    tables: Iterable[ServiceTable],
    interest: Mapping[str, frozenset[str]],
    sent: Mapping[Route, int],
    peers: Mapping[str, frozenset[str]] = NOBODY,
) -> Mapping[Route, ServiceTable]:
    """The tables to send; `sent` are the generations that have arrived.

    `peers` is cluster → those that tell it themselves.
    """
    found: dict[Route, ServiceTable] = {}
    for table in tables:
        for cluster, jobs in interest.items():
            route = (cluster, table.job_name, table.cluster)
            told = table.cluster in peers.get(cluster, ())
            foreign = cluster != table.cluster and table.job_name in jobs
            if foreign and not told and sent.get(route, -1) < table.generation:
                found[route] = table
    return found
