"""Which cluster has to be told where services of other clusters lead. Pure.

Until orchestrators are linked directly the root carries tables between clusters. Does not
belong here: sending (`root.driver`), tables of a cluster's own services (`cluster`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from oakctl.model.documents import ServiceTable
from oakctl.model.service import ServiceSpec

Route: TypeAlias = tuple[str, str, str]  # to cluster, job name, of cluster


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
) -> Mapping[Route, ServiceTable]:
    """The tables to send; `sent` are the generations that have arrived."""
    found: dict[Route, ServiceTable] = {}
    for table in tables:
        for cluster, jobs in interest.items():
            route = (cluster, table.job_name, table.cluster)
            foreign = cluster != table.cluster and table.job_name in jobs
            if foreign and sent.get(route, -1) < table.generation:
                found[route] = table
    return found
