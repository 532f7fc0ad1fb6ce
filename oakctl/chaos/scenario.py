"""A script of faults, as people write it. Pure.

Belongs here: the keys, their forms, and what they ask for; unknown keys are errors. Does not belong
here: playing it (`playing`), judging what came of it (`timeline`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from oakctl.chaos import faults
from oakctl.chaos.faults import Fault, Kind
from oakctl.errors import OakError, UsageError
from oakctl.model.views import Finding
from oakctl.sla.bounds import Unreadable
from oakctl.sla.faults import finding
from oakctl.sla.keys import closest
from oakctl.sla.paths import join
from oakctl.sla.reading import read

SETTLE_S = 60.0
LONGEST_SETTLE_S = 3600.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("is not a duration: write 500ms, 10s or 2m")
        return float(found[1]) * _UNITS[found[2] or "s"]
    return value


def _alone(value: Any) -> Any:
    """`fill-disk: pi-3` is short for its node alone."""
    return {"node": value} if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(_duration), Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=300)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class SlowSection(_Section):
    """`slow`."""

    node: Name
    bandwidth: str = ""
    delay: str = ""


class FillSection(_Section):
    """`fill-disk`."""

    node: Name
    leave: str = "50MB"


class Do(_Section):
    """What is broken: exactly one of the verbs of `oakctl chaos`."""

    kill_instance: Name | None = Field(None, alias="kill-instance")
    kill_agent: Name | None = Field(None, alias="kill-agent")
    kill_orchestrator: Name | None = Field(None, alias="kill-orchestrator")
    kill_bus: Name | None = Field(None, alias="kill-bus")
    power_cut: Name | None = Field(None, alias="power-cut")
    isolate: Name | None = None
    partition: tuple[Name, Name] | None = None
    slow: SlowSection | None = None
    fill_disk: Annotated[FillSection, BeforeValidator(_alone)] | None = Field(
        None, alias="fill-disk"
    )

    @model_validator(mode="after")
    def _one(self) -> Do:
        if len(self.model_fields_set) != 1:
            raise ValueError("has to have exactly one fault")
        return self


class Expect(_Section):
    """What has to come of a fault: seconds after it at most, and failed requests at most."""

    detected: Duration | None = None
    rerouted: Duration | None = None
    replaced: Duration | None = None
    failed: Annotated[int, Field(ge=0)] | None = None


class FaultSection(_Section):
    """One fault."""

    at: Duration
    do: Do
    for_s: Duration | None = Field(None, alias="for")
    expect: Expect = Expect()


class ProbeSection(_Section):
    """Requests that are made all the time."""

    url: str = ""
    tcp: str = ""
    every: Annotated[Duration, Field(ge=0.02)] = 0.2
    timeout: Annotated[Duration, Field(ge=0.05, le=60)] = 1.0

    @model_validator(mode="after")
    def _one(self) -> ProbeSection:
        if bool(self.url) == bool(self.tcp):
            raise ValueError("has to have either `url` or `tcp`")
        if self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("`url` has to begin with http:// or https://")
        host, _, port = self.tcp.rpartition(":")
        if self.tcp and not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("`tcp` has to be HOST:PORT")
        return self


class ScenarioFile(_Section):
    """The whole file."""

    name: str = ""
    application: str = ""
    probe: ProbeSection | None = None
    settle: Annotated[Duration, Field(le=LONGEST_SETTLE_S)] = SETTLE_S
    faults: Annotated[list[FaultSection], Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Probe:
    """Requests to one place; `url` or `tcp` (HOST:PORT). Seconds."""

    url: str
    tcp: str
    every_s: float
    timeout_s: float


@dataclass(frozen=True)
class Step:
    """A fault, when it is made (seconds from the beginning), and what is expected of it."""

    at_s: float
    fault: Fault
    expect: Expect


@dataclass(frozen=True)
class Scenario:
    """What a file asks for, in the order of time."""

    name: str
    application: str  # empty: all of them
    probe: Probe | None
    settle_s: float
    steps: tuple[Step, ...]


def parse(text: str | bytes, called: str = "") -> Scenario:
    """What the file asks for; raises UsageError with every fault as a detail."""
    found, wrong = _check(text)
    steps = _steps(found, wrong) if found else []
    if found is None or wrong:
        count = "a fault" if len(wrong) == 1 else f"{len(wrong)} faults"
        raise UsageError(
            f"the scenario has {count}",
            details=tuple(str(each) for each in wrong),
            hint="mend it and run the command again; nothing was broken",
        )
    probe = found.probe
    return Scenario(
        found.name or called,
        found.application,
        Probe(probe.url, probe.tcp, probe.every, probe.timeout) if probe else None,
        found.settle,
        tuple(sorted(steps, key=lambda step: step.at_s)),
    )


def _check(text: str | bytes) -> tuple[ScenarioFile | None, list[Finding]]:
    try:
        tree, wrong = read(text)
    except Unreadable as error:
        return None, [Finding("", error.finding.message, hint="see examples/chaos")]
    try:
        return ScenarioFile.model_validate(tree), wrong
    except ValidationError as error:
        return None, [*wrong, *(_finding(each) for each in error.errors(include_url=False))]


def _steps(file: ScenarioFile, wrong: list[Finding]) -> list[Step]:
    """The faults of a file; what is wrong with one of them is added to `wrong`."""
    steps: list[Step] = []
    for number, section in enumerate(file.faults):
        try:
            steps.append(Step(section.at, _fault(section), section.expect))
        except OakError as error:
            wrong.append(Finding(f"faults[{number}]", error.message, hint=error.hint))
        if section.expect.model_fields_set & {"rerouted", "failed"} and not file.probe:
            path = f"faults[{number}].expect"
            wrong.append(Finding(path, "requests are counted only with a `probe`"))
    return steps


def _fault(section: FaultSection) -> Fault:
    do = section.do
    (name,) = do.model_fields_set
    kind = Kind(name.replace("_", "-"))
    value = getattr(do, name)
    if kind is Kind.PARTITION:
        return faults.fault(kind, value[0], peer=value[1], for_s=section.for_s)
    if kind is Kind.SLOW:
        return faults.fault(
            kind,
            value.node,
            for_s=section.for_s,
            bits_per_s=faults.rate(value.bandwidth) if value.bandwidth else 0,
            delay_ms=faults.delay_ms(value.delay) if value.delay else 0.0,
        )
    if kind is Kind.FILL_DISK:
        leave = faults.size_mb(value.leave)
        return faults.fault(kind, value.node, for_s=section.for_s, leave_mb=leave)
    return faults.fault(kind, value, for_s=section.for_s)


_KEYS = tuple(
    dict.fromkeys(
        field.alias or name
        for model in (ScenarioFile, FaultSection, Do, Expect, ProbeSection, SlowSection)
        for name, field in model.model_fields.items()
    )
)


def _finding(detail: Any) -> Finding:
    if detail["type"] != "extra_forbidden":
        return finding(detail)
    close = closest(str(detail["loc"][-1]), _KEYS)
    hint = f"did you mean `{close}`?" if close else ""
    return Finding(join(detail["loc"]), "is not a known key", hint=hint)
