"""What has to hold between the values of `fleet.yaml`.

Belongs here: names given twice, hosts that are not there, hosts with two roles of a kind. Does
not belong here: the form of one value (`fleet.schema`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oakctl.fleet.schema import FleetFile
from oakctl.model.views import Finding
from oakctl.sla.keys import closest
from oakctl.sla.paths import shown


def findings(file: FleetFile) -> list[Finding]:
    """Every fault, in the order of the file."""
    clusters = list(enumerate(file.clusters))
    workers = [
        (f"clusters[{i}].workers[{j}]", worker)
        for i, cluster in clusters
        for j, worker in enumerate(cluster.workers)
    ]
    hosts = [(f"hosts[{i}].name", host.name) for i, host in enumerate(file.hosts)]
    orchestrators = [(f"clusters[{i}].orchestrator", c.orchestrator) for i, c in clusters]
    worker_hosts = [(f"{path}.host", worker.host) for path, worker in workers]
    known = [host.name for host in file.hosts]
    found = [
        *_repeated(hosts),
        *_repeated((f"hosts[{i}].address", f"{h.address}:{h.port or 22}")
                   for i, h in enumerate(file.hosts) if not h.jump),
        *_repeated((f"clusters[{i}].name", c.name) for i, c in clusters),
        *_unknown(orchestrators, known),
        *_repeated(orchestrators),
    ]  # fmt: skip
    for i, cluster in clusters:
        own = [(f"clusters[{i}].workers[{j}].name", w.name) for j, w in enumerate(cluster.workers)]
        found.extend(_repeated(own))
    return [*found, *_unknown(worker_hosts, known), *_repeated(worker_hosts)]


def _repeated(named: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for path, value in named:
        if value in first:
            yield Finding(path, f"{shown(value)} is given at {first[value]} already")
        first.setdefault(value, path)


def _unknown(named: Iterable[tuple[str, str]], known: list[str]) -> Iterator[Finding]:
    for path, value in named:
        if value not in known:
            close = closest(value, known)
            hint = f"did you mean `{close}`?" if close else "name it under hosts"
            yield Finding(path, f"{shown(value)} is not among the hosts", hint=hint)
