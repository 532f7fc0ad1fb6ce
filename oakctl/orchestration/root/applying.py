"""Commands on applications: apply, scale, delete. Each is one transaction, or nothing.

Belongs here: what a command changes and why it is refused. Does not belong here: reading
descriptors (`oakctl.sla`), and what follows from the change (`root.driver`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlite_utils import Database

from oakctl.errors import Conflict, NotFound, OakError, UsageError
from oakctl.model.requests import ApplyRequest
from oakctl.model.service import AUTOMATIC, ServiceAddresses, ServiceSpec
from oakctl.model.views import ApplyResult, Finding
from oakctl.orchestration.root import names, placing, replacing
from oakctl.orchestration.root.artifacts import Artifacts, needed_by
from oakctl.orchestration.root.delegation import Row
from oakctl.orchestration.root.store import addresses, events, wanted
from oakctl.overlay import addressing
from oakctl.sla import Application, convert, parse

MOST_REPLICAS = 1000


def read(request: ApplyRequest) -> tuple[tuple[Application, ...], tuple[Finding, ...]]:
    """The applications of a descriptor, and its warnings; raises OakError with every fault."""
    checked = parse(request.descriptor)
    if not checked.ok or checked.descriptor is None:
        faults = tuple(str(f) for f in checked.findings if f.severity == "error")
        raise OakError(
            f"the descriptor has {len(faults)} fault{'' if len(faults) == 1 else 's'}",
            hint="correct it and try: oakctl app validate -f FILE",
            details=faults,
        )
    missing = [ref for ref in checked.artifact_references() if ref not in request.artifacts]
    if missing:
        raise NotFound(
            f"nothing was uploaded for {', '.join(missing)}",
            hint="oakctl app apply -f FILE uploads what FILE refers to",
        )
    applications = convert(checked.descriptor, request.artifacts)
    return applications, tuple(f for f in checked.findings if f.severity != "error")


async def check_artifacts(applications: Sequence[Application], artifacts: Artifacts) -> None:
    """Raises NotFound when an artifact that a service needs is not with this root."""
    for spec in (spec for application in applications for spec in application.services):
        for sha256 in needed_by(spec):
            if not await artifacts.has(sha256):
                raise NotFound(
                    f"service {spec.job_name}: artifact {sha256[:12]} was not uploaded",
                    hint="oakctl app apply -f FILE uploads what FILE refers to",
                )


def apply(
    db: Database,
    applications: Sequence[Application],
    warnings: tuple[Finding, ...],
    now: float,
) -> ApplyResult:
    """Store all applications of a descriptor; those that are there already stay as they are.

    Raises Conflict when one differs from what runs, or an address is taken; NotFound when a
    service is to talk to one that is not there.
    """
    new = [application for application in applications if not _is_there(db, application)]
    _check_connectivity(db, applications)
    filled = _with_addresses(db, [spec for app in new for spec in app.services], now)
    known = {row.spec.job_name: row.spec.addresses for row in wanted.services(db)}
    known |= {spec.job_name: spec.addresses for spec in filled}
    for application in new:
        own = [spec for spec in filled if spec.application == application.name]
        _add(db, application, [_reaching(spec, known) for spec in own], now)
    return ApplyResult(
        tuple(application.name for application in applications),
        tuple(application.name for application in new),
        warnings,
    )


def _is_there(db: Database, application: Application) -> bool:
    known = wanted.application(db, application.name)
    if known is None:
        return False
    name = application.name
    if known.deleting:
        raise Conflict(
            f"application {name} is being deleted",
            hint=f"apply it again when `oakctl app show {name}` no longer finds it",
        )
    asked = {row.asked.job_name: row.asked for row in wanted.services(db, name)}
    given = {spec.job_name: spec for spec in application.services}
    changed = sorted(job for job in asked.keys() | given if asked.get(job) != given.get(job))
    if changed or known.description != application.description:
        raise Conflict(
            f"application {name} is running with another descriptor",
            hint=f"oakctl app delete {name}, then apply it again",
            details=tuple(
                f"{job}: {_difference(asked.get(job), given.get(job))}" for job in changed
            ),
        )
    return True


def _difference(before: ServiceSpec | None, after: ServiceSpec | None) -> str:
    if before is None:
        return "is new"
    if after is None:
        return "is no longer there"
    fields = [
        name for name in ServiceSpec.__dataclass_fields__
        if getattr(before, name) != getattr(after, name)
    ]  # fmt: skip
    return f"{', '.join(fields)} changed"


def _check_connectivity(db: Database, applications: Sequence[Application]) -> None:
    deleting = {row.name for row in wanted.applications(db) if row.deleting}
    there = {r.spec.job_name for r in wanted.services(db) if r.spec.application not in deleting}
    specs = [spec for application in applications for spec in application.services]
    there.update(spec.job_name for spec in specs)
    missing = tuple(
        f"{spec.job_name}: connectivity to {connection.target}, which is not there"
        for spec in specs
        for connection in spec.connectivity
        if connection.target not in there
    )
    if missing:
        raise NotFound(
            "services are to talk to services that are not there",
            hint="apply the application of the target first, or: oakctl service ls",
            details=missing,
        )


def _add(db: Database, application: Application, specs: Sequence[ServiceSpec], now: float) -> None:
    row = wanted.ApplicationRow(application.name, application.description, now)
    wanted.add_application(db, row)
    for spec in specs:
        asked = next(s for s in application.services if s.job_name == spec.job_name)
        wanted.add_service(db, wanted.ServiceRow(spec.replicas, asked, spec))
        for number in range(spec.replicas):
            wanted.put_instance(db, Row(spec.job_name, number, True, since=now))
    count = len(application.services)
    message = f"applied with {count} service{'' if count == 1 else 's'}"
    events.append(db, now, "application.applied", application.name, message)


def _with_addresses(
    db: Database, specs: Sequence[ServiceSpec], now: float
) -> Sequence[ServiceSpec]:
    """Pinned addresses first, so that none of them is given to another service."""
    leases = addresses.leases(db)
    for spec in specs:
        for policy, address in _pinned(spec).items():
            try:
                leases = addressing.pin(leases, f"{policy} of {spec.job_name}", address)
            except OakError as error:
                error.message = f"service {spec.job_name}: {policy}_ip: {error.message}"
                error.args = (error.message,)
                raise
    filled = []
    for spec in specs:
        leases, rr = addressing.lease(leases, f"rr of {spec.job_name}", now)
        leases, closest = addressing.lease(leases, f"closest of {spec.job_name}", now)
        least = ""
        if spec.addresses.least_ip:
            leases, least = addressing.lease(leases, f"least of {spec.job_name}", now)
        filled.append(replace(spec, addresses=ServiceAddresses(rr, closest, least)))
    addresses.put_leases(db, leases)
    return filled


def _reaching(spec: ServiceSpec, known: Mapping[str, ServiceAddresses]) -> ServiceSpec:
    """`spec` with the addresses of what it talks to: an instance has them from its first start."""
    connectivity = tuple(
        replace(connection, addresses=known[connection.target]) for connection in spec.connectivity
    )
    return replace(spec, connectivity=connectivity)


def _pinned(spec: ServiceSpec) -> dict[str, str]:
    given = spec.addresses
    pinned = {"rr": given.rr_ip, "closest": given.closest_ip, "least": given.least_ip}
    return {policy: address for policy, address in pinned.items() if address not in ("", AUTOMATIC)}


def scale(db: Database, name: str, replicas: int, now: float, *, why: str = "") -> str:
    """Want `replicas` instances: lowest free numbers are added, highest are withdrawn.

    A service that scales by itself is scaled by that alone, which says `why`.

    Returns the job name. Raises NotFound, UsageError, or Conflict while it is being deleted.
    """
    if not 0 <= replicas <= MOST_REPLICAS:
        raise UsageError(f"{replicas} is not between 0 and {MOST_REPLICAS} instances")
    services = {row.spec.job_name: row for row in wanted.services(db)}
    job = names.service(name, services)
    owner = wanted.application(db, services[job].spec.application)
    if owner is not None and owner.deleting:
        raise Conflict(f"application {owner.name} is being deleted")
    rules = services[job].spec.autoscale
    if rules is not None and not why:
        raise Conflict(
            f"service {job} scales by itself, from {rules.minimum} to {rules.maximum} instances",
            hint=f"oakctl explain {services[job].spec.name} says by what; the bounds are "
            "`oakctl.autoscale` in its descriptor",
        )
    replacing.cancel(db, job, now)
    rows = wanted.instances(db, job)
    kept = [row.number for row in rows if row.wanted]
    if len(kept) == replicas and services[job].wanted == replicas:
        return job
    for row in rows:
        if row.wanted and row.number in kept[replicas:]:
            placing.withdraw(db, row, now)
    _add_numbers(db, rows, job, replicas - len(kept), now)
    wanted.set_wanted(db, job, replicas)
    message = f"{replicas} instance{'' if replicas == 1 else 's'} wanted, {len(kept)} before"
    events.append(db, now, "service.scaled", job, message, reason=why)
    return job


def _add_numbers(db: Database, rows: Sequence[Row], job: str, count: int, now: float) -> None:
    by_number = {row.number: row for row in rows}
    number = 0
    while count > 0:
        row = by_number.get(number, Row(job, number, False, since=now))
        if not row.wanted:
            # One that is still being withdrawn is placed anew when its cluster has let it go.
            wanted.put_instance(db, replace(row, wanted=True))
            count -= 1
        number += 1


def delete(db: Database, name: str, now: float) -> str:
    """Want nothing of an application any more; returns its name. Twice is the same as once."""
    full = names.application(name, [row.name for row in wanted.applications(db)])
    row = wanted.application(db, full)
    if row is not None and row.deleting:
        return full
    wanted.mark_deleting(db, full)
    leases = addresses.leases(db)
    for service in wanted.services(db, full):
        job = service.spec.job_name
        replacing.cancel(db, job, now)
        wanted.set_wanted(db, job, 0)
        for policy in ("rr", "closest", "least"):
            leases = addressing.release(leases, f"{policy} of {job}", now)
        for instance in wanted.instances(db, job):
            placing.withdraw(db, instance, now)
        for share in wanted.shares(db):
            if share.job_name == job and share.is_open:
                wanted.raise_share(db, (share.cluster, job))
    addresses.put_leases(db, leases)
    events.append(db, now, "application.deleting", full, "its instances are asked to end")
    return full
