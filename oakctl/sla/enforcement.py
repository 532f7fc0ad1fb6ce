"""What is accepted in a descriptor and not enforced by this version.

Belongs here: one sentence per such field; each is a warning when a file is checked and a line
of `explain` when the service runs. Does not belong here: limits that one node can't enforce
(its facts say so).
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.sla import fields
from oakctl.sla.paths import below
from oakctl.sla.schema import ConstraintSection, Microservice

CONTAINERS = ("container", "docker")
ENFORCED_CONSTRAINTS = ("direct", "geo", "clusters")


def gaps(service: Microservice) -> tuple[tuple[str, str], ...]:
    """(path inside the service, sentence) of each field that is given and not enforced."""
    return (
        *_constraints(service),
        *_connectivity(service),
        *_network(service),
        *_files(service),
        *_rest(service),
    )


def _constraints(service: Microservice) -> Iterator[tuple[str, str]]:
    for index, constraint in enumerate(service.constraints):
        path = below("constraints", index)
        if constraint.type not in ENFORCED_CONSTRAINTS:
            yield path, f"a {constraint.type} constraint is not enforced yet"
            continue
        given = _watched(constraint)
        if given:
            yield path, f"{given} of a {constraint.type} constraint: it holds when placed, always"


def _watched(constraint: ConstraintSection) -> str:
    names = ("rigidness", "convergence_time")
    return " and ".join(name for name in names if getattr(constraint, name) is not None)


def _connectivity(service: Microservice) -> Iterator[tuple[str, str]]:
    for index, entry in enumerate(service.connectivity):
        kinds = dict.fromkeys(constraint.type for constraint in entry.con_constraints)
        if kinds:
            path = below(below("connectivity", index), "con_constraints")
            yield path, f"{' and '.join(kinds)} to another service is not enforced yet"


def _network(service: Microservice) -> Iterator[tuple[str, str]]:
    for key in ("bandwidth_in", "bandwidth_out"):
        if getattr(service, key):
            yield key, f"{key} is reserved on the node and not limited on the wire"
    for key in ("rr_ip_v6", "closest_ip_v6"):
        if getattr(service.addresses, key):
            yield below("addresses", key), "IPv6 service addresses are not given yet"
    if service.addresses.instances:
        yield "addresses.instances", "addresses of single instances cannot be pinned yet"


def _files(service: Microservice) -> Iterator[tuple[str, str]]:
    if service.state:
        yield "state", "state is not fetched yet"
    if service.virtualization in CONTAINERS:
        for index, entry in enumerate(service.added_files):
            if fields.is_url(entry):
                words = "is a URL, and nothing is fetched from URLs: give ./FILES:/PATH"
                yield below("added_files", index), f"{entry} {words}"
        return
    kind = service.virtualization
    if service.added_files:
        yield "added_files", f"added_files are for containers; a {kind} gets none"
    for key in ("volumes", "devices", "capabilities", "read_only"):
        if getattr(service.oakctl, key):
            yield below("oakctl", key), f"{key} is for containers; it has no effect on a {kind}"


def _rest(service: Microservice) -> Iterator[tuple[str, str]]:
    if service.privileged and service.virtualization not in CONTAINERS:
        yield "privileged", f"privileged is for containers; a {service.virtualization} is not"
    if service.args and service.virtualization != "unikernel":
        yield "args", f"args are for unikernels; a {service.virtualization} gets cmd alone"
    if service.sla_violation_strategy:
        yield "sla_violation_strategy", "sla_violation_strategy has no effect"
    if service.target_node:
        yield "target_node", "target_node has no effect; use a direct constraint"
