"""A descriptor that was accepted, as the model's services.

Belongs here: defaults, units and names on their way from the file to `ServiceSpec`. Does not
belong here: checks (`check`), or addresses that the root gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from oakctl.errors import OakError
from oakctl.model.resources import Resources
from oakctl.model.service import (
    DOWN,
    UP,
    AddedFiles,
    Autoscale,
    Code,
    Connectivity,
    Constraint,
    MetricsEndpoint,
    Pace,
    Probe,
    RestartPolicy,
    ServiceAddresses,
    ServiceSpec,
)
from oakctl.sla import enforcement, fields, schema
from oakctl.sla.places import ServiceName
from oakctl.sla.references import resolve

T = TypeVar("T")
CONTAINERS = enforcement.CONTAINERS


@dataclass(frozen=True)
class Application:
    """An application and its services, ready for the root."""

    name: str  # application.namespace
    description: str
    services: tuple[ServiceSpec, ...]


def convert(descriptor: schema.Descriptor, artifacts: Mapping[str, str]) -> tuple[Application, ...]:
    """The applications of a descriptor that `parse` accepted.

    `artifacts` maps each of its artifact references to the sha256 of what was uploaded for it;
    raises OakError when one is not there.
    """
    known = [
        _name(application, service)
        for application in descriptor.applications
        for service in application.microservices
    ]
    return tuple(
        Application(
            f"{application.application_name}.{application.application_namespace}",
            application.application_desc,
            tuple(
                _service(service, _name(application, service), known, artifacts)
                for service in application.microservices
            ),
        )
        for application in descriptor.applications
    )


def _name(application: schema.ApplicationSection, service: schema.Microservice) -> ServiceName:
    return ServiceName(
        application.application_name,
        application.application_namespace,
        service.microservice_name,
        service.microservice_namespace,
    )


def _service(
    service: schema.Microservice,
    name: ServiceName,
    known: Sequence[ServiceName],
    artifacts: Mapping[str, str],
) -> ServiceSpec:
    extension = service.oakctl
    codes = _codes(service, artifacts)
    return ServiceSpec(
        job_name=name.job_name,
        application=f"{name.application}.{name.app_namespace}",
        virtualization=_virtualization(service),
        code=codes[0].code if codes else _code(service, service.code, artifacts),
        codes=codes,
        cmd=tuple(service.cmd),
        args=tuple(service.args),
        environment=tuple(service.environment),
        requests=_requests(service),
        architectures=_architectures(service, codes),
        ports=fields.ports(service.port),
        listen=tuple(fields.listen(entry) for entry in extension.listen),
        addresses=_addresses(service),
        constraints=tuple(_constraint(constraint) for constraint in service.constraints),
        connectivity=_connectivity(service, name, known),
        one_shot=service.one_shot,
        privileged=service.privileged,
        replicas=_replicas(extension),
        ready=_probe(extension.ready),
        metrics=_metrics(extension.metrics),
        pull=extension.pull,
        restart=_restart(service),
        autoscale=_autoscale(extension.autoscale),
        volumes=tuple(fields.volume(entry) for entry in extension.volumes),
        added_files=_added_files(service, artifacts),
        capabilities=tuple(fields.capability(name) for name in extension.capabilities),
        devices=tuple(fields.device(path) for path in extension.devices),
        read_only=extension.read_only,
        secrets=tuple(fields.secret(s.name, s.as_, s.target) for s in extension.secrets),
        grace_s=extension.grace,
        affinity=extension.affinity,
        weights=dict(extension.weights),
        not_enforced=tuple(sentence for _, sentence in enforcement.gaps(service)),
    )


def _addresses(service: schema.Microservice) -> ServiceAddresses:
    given = service.addresses
    return ServiceAddresses(given.rr_ip, given.closest_ip, service.oakctl.addresses.least_loaded)


def _virtualization(service: schema.Microservice) -> str:
    # Oakestra stores "container" as "docker"; both mean an image.
    return "container" if service.virtualization == "docker" else service.virtualization


def _code(service: schema.Microservice, code: str, artifacts: Mapping[str, str]) -> str:
    return code if service.virtualization != "process" else _uploaded(service, code, artifacts)


def _codes(service: schema.Microservice, artifacts: Mapping[str, str]) -> tuple[Code, ...]:
    given = fields.codes(service.oakctl.code) if service.oakctl.code else {}
    return tuple(Code(name, _code(service, code, artifacts)) for name, code in given.items())


def _architectures(service: schema.Microservice, codes: Sequence[Code]) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(fields.architecture(name) for name in service.arch))
    return asked or tuple(one.architecture for one in codes)


def _added_files(
    service: schema.Microservice, artifacts: Mapping[str, str]
) -> tuple[AddedFiles, ...]:
    if service.virtualization not in CONTAINERS:
        return ()
    given = (entry for entry in service.added_files if not fields.is_url(entry))
    found = (fields.added_files(entry) for entry in given)
    return tuple(AddedFiles(_uploaded(service, ref, artifacts), target) for ref, target in found)


def _uploaded(service: schema.Microservice, reference: str, artifacts: Mapping[str, str]) -> str:
    if reference.startswith(fields.SHA256_PREFIX):
        return reference.removeprefix(fields.SHA256_PREFIX)
    try:
        return artifacts[reference].removeprefix(fields.SHA256_PREFIX)
    except KeyError:
        raise OakError(
            f"the artifact {reference} of {service.microservice_name} was not uploaded",
            hint="oakctl app apply -f FILE packs and uploads it",
        ) from None


def _requests(service: schema.Microservice) -> Resources:
    fraction = service.oakctl.vcpus
    return Resources(
        vcpus=float(service.vcpus if fraction is None else fraction),
        memory_mb=service.memory,
        storage_mb=service.storage,
        vgpus=service.vgpus,
        vtpus=service.vtpus,
        bandwidth_in_kbit=service.bandwidth_in,
        bandwidth_out_kbit=service.bandwidth_out,
    )


def _constraint(given: schema.ConstraintSection) -> Constraint:
    clusters = given.allowed if given.type == "clusters" else fields.names_list(given.cluster)
    return Constraint(
        kind=given.type,
        threshold=given.threshold or 0.0,
        area=given.area,
        location=fields.location(given.location) if given.location else None,
        clusters=tuple(clusters),
        nodes=fields.names_list(given.node),
        needs=tuple(given.needs),
        rigidness=_or(given.rigidness, Constraint.rigidness),
        convergence_time_s=_or(given.convergence_time, Constraint.convergence_time_s),
    )


def _or(value: T | None, default: T) -> T:
    """`value`, or the model's default where the file has none."""
    return default if value is None else value


def _connectivity(
    service: schema.Microservice, name: ServiceName, known: Sequence[ServiceName]
) -> tuple[Connectivity, ...]:
    """One entry per target, also where the file names it more than once."""
    targets: dict[str, tuple[Constraint, ...]] = {}
    for entry in service.connectivity:
        target = resolve(entry.target_microservice_id, name, known).job_name
        constraints = tuple(
            Constraint(
                kind=given.type,
                threshold=given.threshold,
                area=given.area,
                location=fields.location(given.location) if given.location else None,
                rigidness=given.rigidness,
                convergence_time_s=given.convergence_time,
            )
            for given in entry.con_constraints
        )
        targets[target] = targets.get(target, ()) + constraints
    return tuple(Connectivity(target, constraints) for target, constraints in targets.items())


def _replicas(extension: schema.Extension) -> int:
    if extension.autoscale and "replicas" not in extension.model_fields_set:
        return extension.autoscale.min
    return extension.replicas


def _probe(ready: schema.ReadySection | None) -> Probe | None:
    if ready is None:
        return None
    kind = next(name for name in ("tcp", "http", "command") if getattr(ready, name) is not None)
    return Probe(
        kind,
        port=ready.tcp or (ready.http.port if ready.http else 0),
        path=ready.http.path if ready.http else Probe.path,
        command=tuple(ready.command or ()),
        interval_s=ready.interval,
        timeout_s=ready.timeout,
    )


def _metrics(metrics: schema.MetricsSection | None) -> MetricsEndpoint | None:
    return MetricsEndpoint(metrics.port, metrics.path) if metrics else None


def _restart(service: schema.Microservice) -> RestartPolicy:
    given = service.oakctl.restart
    if given is None:
        # A one-shot that ended well has done what it is for.
        return RestartPolicy(when="on-failure" if service.one_shot else "always")
    return RestartPolicy(given.when, given.backoff, given.backoff_max, given.reset_after)


def _autoscale(given: schema.AutoscaleSection | None) -> Autoscale | None:
    if given is None:
        return None
    asked = {name: getattr(given.target, name) for name in schema.METRICS}
    targets = {name: float(value) for name, value in asked.items() if value is not None}
    return Autoscale(given.min, given.max, targets, _pace(given.up, UP), _pace(given.down, DOWN))


def _pace(given: schema.PaceSection, default: Pace) -> Pace:
    return Pace(
        _or(given.stabilisation, default.stabilisation_s),
        _or(given.step, default.step),
        _or(given.cooldown, default.cooldown_s),
    )
