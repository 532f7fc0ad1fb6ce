"""The document that says what one worker shall run. Pure function of the state."""

from __future__ import annotations

import re
from collections.abc import Mapping

from oakctl.model import architectures
from oakctl.model.documents import DesiredDocument
from oakctl.model.instance import DesiredInstance
from oakctl.model.service import ServiceAddresses, ServiceSpec
from oakctl.orchestration.cluster.state import InstanceRecord, State

_NOT_IN_A_VARIABLE = re.compile(r"[^A-Z0-9]")


def document(state: State, worker: str, revision: int) -> DesiredDocument:
    """What `worker` shall run: every instance placed there, but those that are to stop."""
    record = state.workers[worker]
    placed = sorted((r for r in state.on(worker) if not r.stopping), key=lambda r: r.key)
    instances = tuple(wanted for r in placed if (wanted := _instance(state, r)) is not None)
    return DesiredDocument(worker, revision, record.subnet, instances)


def reach(state: State, spec: ServiceSpec) -> Mapping[str, str]:
    """Variable name → overlay address, for each service that this one talks to."""
    found: dict[str, str] = {}
    for link in spec.connectivity:
        addresses = _known_addresses(state, link.target, link.addresses)
        name = _NOT_IN_A_VARIABLE.sub("_", link.target.split(".")[2].upper())
        for variable, address in (
            (f"OAKCTL_ADDR_{name}", addresses.rr_ip or addresses.closest_ip),
            (f"OAKCTL_ADDR_CLOSEST_{name}", addresses.closest_ip or addresses.rr_ip),
            (f"OAKCTL_ADDR_LEAST_{name}", addresses.least_ip),
        ):
            if address:
                found.setdefault(variable, address)
    return found


def _instance(state: State, record: InstanceRecord) -> DesiredInstance | None:
    spec = state.spec(record.job_name)
    if spec is None:
        return None
    facts = state.workers[record.worker].facts
    own = spec.on(architectures.of_node(spec, facts)) if facts and spec.codes else spec
    return DesiredInstance(
        own, record.number, record.epoch, record.address, dict(reach(state, spec))
    )


def _known_addresses(state: State, target: str, given: ServiceAddresses) -> ServiceAddresses:
    if given != ServiceAddresses():
        return given
    spec = state.spec(target)
    if spec is not None:
        return spec.addresses
    tables = (table for (job_name, _), table in state.foreign.items() if job_name == target)
    return next((table.addresses for table in tables), ServiceAddresses())
