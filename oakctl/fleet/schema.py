"""The keys of `fleet.yaml`, with their forms.

Belongs here: shapes and the rules of single values. Does not belong here: rules between values
(`fleet.rules`), and what follows from the file (`fleet.planner`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from oakctl.errors import OakError
from oakctl.model import tunnel_endpoint
from oakctl.model.resources import Location, Resources
from oakctl.orchestration.cluster import bus_server
from oakctl.orchestration.root import names
from oakctl.orchestration.scheduling import policies


def _name(text: str) -> str:
    if not names.FORM.fullmatch(text):
        raise ValueError("is not a name: use 1 to 30 of a-z, 0-9 and -")
    return text


def _worker_name(text: str) -> str:
    try:
        return bus_server.check_worker_name(_name(text))
    except OakError as error:
        raise ValueError("cannot name a worker: the bus has a user of that name") from error


def _policy(text: str) -> str:
    if text not in policies.names():
        raise ValueError(f"is not a policy: known are {', '.join(policies.names())}")
    return text


def _location(value: Any) -> Any:
    """`48.26,11.67` as the command line has it, beside the two keys."""
    if not isinstance(value, str):
        return value
    try:
        latitude, longitude = (float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("is not LATITUDE,LONGITUDE") from None
    return {"latitude": latitude, "longitude": longitude}


def _text(value: Any) -> Any:
    """A label may be written without quotes: `zone: 3`."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _several(value: Any) -> Any:
    """One file may stand without a list around it."""
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
Filled = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Filled], BeforeValidator(_several)]
Label = Annotated[str, BeforeValidator(_text)]


def _endpoint(text: str) -> str:
    tunnel_endpoint.read(text)
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class Section(BaseModel):
    """A part of the file: what is not a key of it is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PlaceSection(Section):
    """A point on earth, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)

    def value(self) -> Location:
        """As the rest of the program has it."""
        return Location(self.latitude, self.longitude)


Place = Annotated[PlaceSection | None, BeforeValidator(_location)]


class HostSection(Section):
    """A machine that answers SSH."""

    name: Name
    address: Filled
    port: int = Field(default=0, ge=1, le=65535)  # 0: as ssh_config says, or 22
    user: str = ""
    identity_file: str = ""
    jump: list[Filled] = Field(default_factory=list)


class ContributionSection(Section):
    """What a host gives; 0 or absent: what it has (of CPU, memory, disk) or none."""

    vcpus: float = Field(default=0, ge=0)
    memory_mb: int = Field(default=0, ge=0)
    storage_mb: int = Field(default=0, ge=0)
    vgpus: int = Field(default=0, ge=0)
    vtpus: int = Field(default=0, ge=0)
    bandwidth_in_kbit: int = Field(default=0, ge=0)
    bandwidth_out_kbit: int = Field(default=0, ge=0)

    def value(self) -> Resources:
        """As the rest of the program has it."""
        return Resources(**self.model_dump())


class WorkerSection(Section):
    """A host that runs instances."""

    name: Annotated[str, AfterValidator(_worker_name)]
    host: Name
    contribution: ContributionSection = ContributionSection()
    declared: list[str] = Field(default_factory=list)
    labels: dict[Filled, Label] = Field(default_factory=dict)
    docker: bool = False
    overlay: Literal["", "kernel", "host"] = ""  # empty: what the host can
    endpoint: Endpoint = ""
    relay: bool = False
    location: Place = None


class ClusterSection(Section):
    """An orchestrator and its workers."""

    name: Name
    orchestrator: Name
    policy: Annotated[str, AfterValidator(_policy)] = policies.DEFAULT
    location: Place = None
    workers: list[WorkerSection] = Field(default_factory=list)


class FleetFile(Section):
    """The whole file."""

    hosts: list[HostSection]
    clusters: list[ClusterSection] = Field(default_factory=list)
    python_archive: Files = Field(default_factory=list)
