"""From the text of `fleet.yaml` to what it asks for, or to every fault with its path.

Belongs here: reading, and the words of faults. Does not belong here: the keys (`fleet.schema`).
"""

from __future__ import annotations

import types
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from oakctl.errors import UsageError
from oakctl.fleet import rules
from oakctl.fleet.schema import FleetFile, HostSection
from oakctl.fleet.state import Wanted
from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.views import Finding, HostView
from oakctl.sla.bounds import Unreadable
from oakctl.sla.faults import finding
from oakctl.sla.keys import closest
from oakctl.sla.paths import join
from oakctl.sla.reading import read


def parse(text: str | bytes, folder: Path) -> Wanted:
    """What the file asks for; raises UsageError with every fault as a detail.

    A relative `identity_file` or `python_archive` is looked for below `folder`, the file's own.
    """
    file, faults = check(text)
    if file is None or faults:
        one = len(faults) == 1
        raise UsageError(
            f"the fleet file has {'a fault' if one else f'{len(faults)} faults'}",
            details=tuple(str(fault) for fault in faults),
            hint="mend it and run the command again; nothing was changed",
        )
    return wanted(file, folder)


def check(text: str | bytes) -> tuple[FleetFile | None, list[Finding]]:
    """The file, or every fault in it."""
    try:
        tree, faults = read(text)
    except Unreadable as error:
        return None, [replace(error.finding, hint="oakctl fleet init writes one to begin with")]
    try:
        file = FleetFile.model_validate(tree)
    except ValidationError as error:
        return None, [*faults, *(_finding(each) for each in error.errors(include_url=False))]
    return file, [*faults, *rules.findings(file)]


def wanted(file: FleetFile, folder: Path) -> Wanted:
    """The same in the words of `/v1`."""
    workers = [
        WorkerAdd(
            name=worker.name,
            cluster=cluster.name,
            host=worker.host,
            contribution=worker.contribution.value(),
            declared=tuple(sorted(worker.declared)),
            location=worker.location.value() if worker.location else None,
            labels=dict(worker.labels),
            docker=worker.docker,
            overlay=worker.overlay,
            endpoint=worker.endpoint,
            relay=worker.relay,
        )
        for cluster in file.clusters
        for worker in cluster.workers
    ]
    clusters = [
        ClusterCreate(
            each.name,
            each.orchestrator,
            each.policy,
            each.location.value() if each.location else None,
        )
        for each in file.clusters
    ]
    hosts = tuple(_host(host, folder) for host in file.hosts)
    archives = tuple(_file(path, folder) for path in file.python_archive)
    return Wanted(hosts, tuple(clusters), tuple(workers), archives)


def _host(host: HostSection, folder: Path) -> HostView:
    key = _file(host.identity_file, folder) if host.identity_file else ""
    return HostView(host.name, host.address, host.port, host.user, key, tuple(host.jump))


def _file(name: str, folder: Path) -> str:
    return str((folder / Path(name).expanduser()).resolve())


def _finding(detail: Any) -> Finding:
    if detail["type"] != "extra_forbidden":
        return finding(detail)
    *parents, key = detail["loc"]
    close = closest(str(key), _keys(FleetFile, parents))
    hint = f"did you mean `{close}`?" if close else ""
    return Finding(join(detail["loc"]), "is not a known key", hint=hint)


def _keys(model: type[BaseModel], steps: list[Any]) -> tuple[str, ...]:
    """The keys of the section that `steps` lead to."""
    for step in steps:
        if isinstance(step, str) and step in model.model_fields:
            model = _section(model.model_fields[step].annotation) or model
    return tuple(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, types.UnionType, typing.Annotated, typing.Union):
        for argument in typing.get_args(annotation):
            found = _section(argument)
            if found is not None:
                return found
    return None
