"""The shape of a descriptor: Oakestra's SLA v2.0 and our key `oakctl:` on a microservice.

Belongs here: fields, their types, ranges and defaults. Does not belong here: rules over more
than one field (`rules`), keys that are not here (`keys`), what is enforced (`enforcement`).
Attribute names are the file's keys, also where they are not beautiful.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from oakctl.sla import fields

LARGEST_AMOUNT = 1_000_000_000
MOST_INSTANCES = 100_000
CONSTRAINT_KINDS = ("latency", "geo", "direct", "clusters", "addons")
CONNECTION_KINDS = ("latency", "bandwidth", "geo")
METRICS = ("cpu", "queue_delay_ms", "latency_ms", "rps")


def _checked(check: Callable[[str], object]) -> AfterValidator:
    """A text that has to have the form that `check` reads, and stays as it is."""

    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


def _empty(text: str) -> str:
    if text:
        raise ValueError("has to be empty: the root gives it")
    return text


def _version(text: str) -> str:
    if text != "v2.0":
        known = "v1.0 is deprecated; " if text in ("v1.0", "v1") else ""
        raise ValueError(f"is not v2.0 ({known}this is the one version there is)")
    return text


def _given(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _whole(value: Any) -> Any:
    """JSON's 2.0 is the integer 2; 1.5 and true are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[str, AfterValidator(fields.name)]
Given = Annotated[str, AfterValidator(_given)]
Amount = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=LARGEST_AMOUNT)]
PortNumber = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=LARGEST_AMOUNT)]
Address = Annotated[str, AfterValidator(fields.service_address)]
Weight = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=60)]
OptionalAddress = Annotated[str, AfterValidator(fields.service_address_or_automatic)]
RrAddressV6 = Annotated[
    str, AfterValidator(lambda text: fields.service_address_v6(text, fields.RR_NETWORK_V6))
]
ClosestAddressV6 = Annotated[
    str, AfterValidator(lambda text: fields.service_address_v6(text, fields.CLOSEST_NETWORK_V6))
]


class Section(BaseModel):
    """Strict types; keys that are not fields are `keys`' business."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class InstanceRange(Section):
    """Oakestra's addresses of single instances; accepted and ignored, there as here."""

    from_: Amount | None = Field(None, alias="from")
    to: Amount | None = None
    start: str = ""


class Addresses(Section):
    """Service addresses that the file pins; empty: the root gives one."""

    rr_ip: Address = ""
    rr_ip_v6: RrAddressV6 = ""
    closest_ip: Address = ""
    closest_ip_v6: ClosestAddressV6 = ""
    instances: list[InstanceRange] = []


class ConstraintSection(Section):
    """One entry of `constraints`; which fields it needs depends on `type` (`rules`)."""

    type: Given
    area: str = ""
    cluster: str = ""
    node: str = ""
    location: str = ""
    threshold: Annotated[float, Field(ge=0)] | None = None
    rigidness: Annotated[float, Field(ge=0, le=1)] | None = None
    convergence_time: Amount | None = None
    needs: list[Given] = []
    allowed: list[Given] = []


class ConnectionConstraint(Section):
    """One entry of `con_constraints`; all four fields are required by Oakestra's schema."""

    type: Given
    threshold: Annotated[float, Field(ge=0)]
    rigidness: Annotated[float, Field(ge=0, le=1)]
    convergence_time: Amount
    area: str = ""
    location: str = ""


class ConnectivitySection(Section):
    """A service that this one talks to: `service`, `service.ns` or the full job name."""

    target_microservice_id: Given
    con_constraints: list[ConnectionConstraint] = []


class Volume(Section):
    """A volume by CSI: read, so that its refusal can say what to use (`section_rules`)."""

    volume_id: Given
    csi_driver: Given
    mount_path: str = ""
    config: dict[str, Any] = {}


class HttpProbe(Section):
    """GET `path` on `port`: ready when the answer is 2xx or 3xx."""

    port: PortNumber
    path: Annotated[str, Field(pattern="^/")] = "/"


class ReadySection(Section):
    """Exactly one of tcp, http and command (`rules`); times in seconds."""

    tcp: PortNumber | None = None
    http: HttpProbe | None = None
    command: list[Given] | None = None
    interval: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    timeout: Annotated[float, Field(ge=0.05, le=3600)] = 2.0


class MetricsSection(Section):
    """Where an instance serves Prometheus text."""

    port: PortNumber
    path: Annotated[str, Field(pattern="^/")] = "/metrics"


class RestartSection(Section):
    """When an instance that ended is started again; times in seconds."""

    when: Literal["always", "on-failure", "never"] = "always"
    backoff: Annotated[float, Field(ge=0.05, le=3600)] = 0.5
    backoff_max: Annotated[float, Field(ge=0.05, le=86400)] = 60.0
    reset_after: Annotated[float, Field(ge=0, le=86400)] = 60.0


class TargetSection(Section):
    """At least one of these (`rules`); with several, the highest count wins."""

    cpu: Annotated[float, Field(gt=0)] | None = None
    queue_delay_ms: Annotated[float, Field(gt=0)] | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    rps: Annotated[float, Field(gt=0)] | None = None


class PaceSection(Section):
    """How the number changes in one direction; times in seconds. Absent: the model's defaults."""

    stabilisation: Annotated[float, Field(ge=0, le=86400)] | None = None
    step: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_INSTANCES)] | None = None
    cooldown: Annotated[float, Field(ge=0, le=86400)] | None = None


class AutoscaleSection(Section):
    """Bounds of the number of instances, and what they are to hold."""

    min: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_INSTANCES)] = 1
    max: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_INSTANCES)]
    target: TargetSection
    up: PaceSection = PaceSection()
    down: PaceSection = PaceSection()


def _restart(value: Any) -> Any:
    return {"when": value} if isinstance(value, str) else value


class SecretSection(Section):
    """A secret for each instance: as a file, or as a variable."""

    name: Annotated[str, AfterValidator(fields.secret_name)]
    as_: Literal["file", "env"] = Field("file", alias="as")
    target: str = ""


def _secret(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class FurtherAddresses(Section):
    """Service addresses that Oakestra does not have: given on demand, by `auto`, or pinned."""

    least_loaded: OptionalAddress = ""


class Extension(Section):
    """The key `oakctl:` of a microservice."""

    vcpus: Annotated[float, Field(ge=0, le=LARGEST_AMOUNT)] | None = None
    ready: ReadySection | None = None
    metrics: MetricsSection | None = None
    pull: Literal["never", "missing", "always"] = "missing"
    restart: Annotated[RestartSection, BeforeValidator(_restart)] | None = None
    listen: list[Annotated[str, _checked(fields.listen)]] = []
    replicas: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MOST_INSTANCES)] = 1
    autoscale: AutoscaleSection | None = None
    grace: Annotated[float, Field(ge=0, le=3600)] = 5.0
    volumes: list[Annotated[str, _checked(fields.volume)]] = []
    devices: list[Annotated[str, _checked(fields.device)]] = []
    capabilities: list[Annotated[str, _checked(fields.capability)]] = []
    read_only: bool = False
    secrets: list[Annotated[SecretSection, BeforeValidator(_secret)]] = []
    code: dict[str, str] | None = None  # per architecture
    addresses: FurtherAddresses = FurtherAddresses()
    affinity: Literal["", "client"] = ""
    weights: dict[Given, Weight] = {}  # by worker or cluster; others count 1


class Microservice(Section):
    """One service. Amounts: memory and storage in MB, bandwidth in kbit/s."""

    microserviceID: Annotated[str, AfterValidator(_empty)] = ""  # noqa: N815 (Oakestra's key)
    microservice_name: Name
    microservice_namespace: Name
    virtualization: Given
    code: Given = ""  # or `oakctl.code` (`code_rules`)
    memory: Amount = 0
    vcpus: Amount = 0
    vgpus: Amount = 0
    vtpus: Amount = 0
    bandwidth_in: Amount = 0
    bandwidth_out: Amount = 0
    storage: Amount = 0
    state: str = ""
    port: Annotated[str, _checked(fields.ports)] = ""
    one_shot: bool = False
    privileged: bool = False
    cmd: list[str] = []
    environment: list[Annotated[str, AfterValidator(fields.environment)]] = []
    args: list[str] = []
    added_files: list[str] = []
    volumes: list[Volume] = []
    arch: list[Given] = []
    sla_violation_strategy: str = ""
    target_node: str = ""
    addresses: Addresses = Addresses()
    constraints: list[ConstraintSection] = []
    connectivity: list[ConnectivitySection] = []
    oakctl: Extension = Extension()


class ApplicationSection(Section):
    """One application."""

    applicationID: str = ""  # noqa: N815 (Oakestra's key); overwritten there, ignored here
    application_name: Name
    application_namespace: Name
    application_desc: str = ""
    microservices: list[Microservice]


class Descriptor(Section):
    """A whole file."""

    sla_version: Annotated[str, AfterValidator(_version)]
    customerID: str  # noqa: N815 (Oakestra's key)
    applications: list[ApplicationSection]
