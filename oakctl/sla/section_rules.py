"""Rules inside one section: what a constraint of its type needs, probes, autoscaling, runtimes.

Belongs here: fields that only make sense together. Works on trees with other faults in them.
Does not belong here: rules between services (`rules`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from oakctl.model.views import Finding
from oakctl.sla import code_rules, fields, schema, secret_rules
from oakctl.sla.keys import closest
from oakctl.sla.paths import below, shown
from oakctl.sla.places import Place, ServicePlace, elements, objects, section, services, text

CONTAINERS = ("container", "docker")
RUNTIMES = ("container", "docker", "process", "unikernel", "crosvm")
# What each type of constraint needs; any one field of each group will do.
_NEEDS = {
    "latency": (("threshold",), ("area",)),
    "geo": (("location",), ("threshold",)),
    "direct": (("cluster", "node"),),
    "clusters": (("allowed",),),
    "addons": (("needs",),),
}
_KIND_FIELDS = ("area", "cluster", "node", "location", "threshold", "needs", "allowed")


def check(tree: dict[str, Any]) -> list[Finding]:
    """Every fault and warning inside single sections."""
    findings: list[Finding] = []
    for place in services(tree):
        findings += _runtime(place)
        findings += _environment(place)
        findings += _storage(place)
        for constraint in objects(place.data.get("constraints"), below(place.path, "constraints")):
            findings += _constraint(constraint)
        findings += _connections(place)
        extension = Place(below(place.path, "oakctl"), section(place.data, "oakctl"))
        findings += secret_rules.check(place)
        findings += _ready(extension)
        findings += _autoscale(extension)
    return findings


def _runtime(place: ServicePlace) -> Iterator[Finding]:
    kind = text(place.data, "virtualization")
    if kind == "unikernel" and not place.data.get("arch"):
        yield Finding(below(place.path, "arch"), "is missing: a unikernel is built for one")
    yield from code_rules.check(place)
    if kind and kind not in RUNTIMES:
        close = closest(kind, RUNTIMES)
        yield Finding(
            below(place.path, "virtualization"),
            f"{shown(kind)} is not a runtime that is known; it waits for a worker that has it",
            "warning",
            f"did you mean `{close}`?" if close else f"known are {', '.join(RUNTIMES)}",
        )


def _environment(place: ServicePlace) -> Iterator[Finding]:
    seen: set[str] = set()
    path = below(place.path, "environment")
    for index, entry in enumerate(elements(place.data, "environment")):
        key, assigned, _ = entry.partition("=") if isinstance(entry, str) else ("", "", "")
        if not assigned or not key:
            continue
        if key.startswith("OAKCTL_"):
            message = f"{shown(key)} is set by the worker; this value is not used"
            yield Finding(below(path, index), message, "warning")
        elif key in seen:
            message = f"{shown(key)} is set twice; the last value is used"
            yield Finding(below(path, index), message, "warning")
        seen.add(key)


def _storage(place: ServicePlace) -> Iterator[Finding]:
    for volume in objects(place.data.get("volumes"), below(place.path, "volumes")):
        driver = text(volume.data, "csi_driver")
        if driver:
            target = text(volume.data, "mount_path") or "/PATH"
            yield Finding(
                below(volume.path, "csi_driver"),
                f"{shown(driver)} has no driver here: nothing is mounted by CSI",
                hint=f'oakctl: {{volumes: ["NAME:{target}"]}} is a volume on the node; a path of '
                f"the host is /HOST/PATH:{target}, where its operator allows it",
            )
    if text(place.data, "virtualization") in CONTAINERS:
        for index, entry in enumerate(elements(place.data, "added_files")):
            if not isinstance(entry, str) or fields.is_url(entry):
                continue  # the schema's fault to report, and `enforcement`'s
            try:
                fields.added_files(entry)
            except ValueError as error:
                path = below(below(place.path, "added_files"), index)
                yield Finding(path, f"{shown(entry)} {error}")
    yield from _targets(place)


def _targets(place: ServicePlace) -> Iterator[Finding]:
    """Two things at one place of a container hide each other."""
    seen: set[str] = set()
    files = secret_rules.container_files(place)
    for path, entry, target in (*_volumes(place), *_added_files(place), *files):
        if target in seen:
            yield Finding(path, f"{shown(entry)} mounts at {target}, where another is already")
        seen.add(target)


def _volumes(place: ServicePlace) -> Iterator[tuple[str, str, str]]:
    path = below(below(place.path, "oakctl"), "volumes")
    for index, entry in enumerate(elements(section(place.data, "oakctl"), "volumes")):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            yield below(path, index), entry, fields.volume(entry).target


def _added_files(place: ServicePlace) -> Iterator[tuple[str, str, str]]:
    path = below(place.path, "added_files")
    for index, entry in enumerate(elements(place.data, "added_files")):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            yield below(path, index), entry, fields.added_files(entry)[1]


def _constraint(place: Place) -> Iterator[Finding]:
    kind = text(place.data, "type")
    if not kind:
        return
    if kind not in schema.CONSTRAINT_KINDS:
        yield _not_a_kind(place.path, kind, schema.CONSTRAINT_KINDS)
        return
    needs = _NEEDS[kind]
    for group in needs:
        if all(place.data.get(field) in (None, "", []) for field in group):
            yield Finding(
                below(place.path, group[0]),
                f"is missing: a {kind} constraint needs {' or '.join(group)}",
            )
    yield from _location(place)
    for key in ("cluster", "node"):
        value = text(place.data, key)
        if kind == "direct" and value and not fields.names_list(value):
            yield Finding(below(place.path, key), f"{shown(value)} names nothing")
    used = {field for group in needs for field in group}
    for key in _KIND_FIELDS:
        if place.data.get(key) and key not in used:
            yield Finding(below(place.path, key), f"is not used by a {kind} constraint", "warning")


def _location(place: Place) -> Iterator[Finding]:
    value = text(place.data, "location")
    if not value:
        return
    try:
        fields.location(value)
    except ValueError as error:
        yield Finding(below(place.path, "location"), f"{shown(value)} {error}")


def _connections(place: ServicePlace) -> Iterator[Finding]:
    path = below(place.path, "connectivity")
    for entry in objects(place.data.get("connectivity"), path):
        inside = below(entry.path, "con_constraints")
        for constraint in objects(entry.data.get("con_constraints"), inside):
            kind = text(constraint.data, "type")
            if kind and kind not in schema.CONNECTION_KINDS:
                yield _not_a_kind(constraint.path, kind, schema.CONNECTION_KINDS)
            yield from _location(constraint)


def _not_a_kind(path: str, kind: str, kinds: tuple[str, ...]) -> Finding:
    close = closest(kind, kinds)
    return Finding(
        below(path, "type"),
        f"{shown(kind)} is not one of {', '.join(kinds)}",
        hint=f"did you mean `{close}`?" if close else "",
    )


def _ready(extension: Place) -> Iterator[Finding]:
    if not isinstance(extension.data.get("ready"), dict):
        return
    probe = section(extension.data, "ready")
    path = below(extension.path, "ready")
    kinds = [key for key in ("tcp", "http", "command") if probe.get(key) is not None]
    if len(kinds) != 1:
        has = f"has {' and '.join(kinds)}" if kinds else "has none"
        yield Finding(path, f"{has}: exactly one of tcp, http and command is needed")
    if probe.get("command") == []:
        yield Finding(below(path, "command"), "[] is empty")


def _autoscale(extension: Place) -> Iterator[Finding]:
    scale = section(extension.data, "autoscale")
    if not scale:
        return
    path = below(extension.path, "autoscale")
    target = scale.get("target")
    if isinstance(target, dict):
        metrics = [key for key in schema.METRICS if target.get(key) is not None]
        if not metrics:
            choices = ", ".join(schema.METRICS)
            yield Finding(below(path, "target"), f"has none: at least one of {choices} is needed")
        served = [key for key in metrics if key != "cpu"]
        if served and not extension.data.get("metrics"):
            yield Finding(
                below(path, "target"),
                f"{served[0]} is read from the instances: `oakctl.metrics` has to say where",
            )
    low, high = scale.get("min", 1), scale.get("max")
    if not (_is_number(low) and _is_number(high)):
        return
    if low > high:
        yield Finding(below(path, "min"), f"{low} is not ≤ max, which is {high}")
    replicas = extension.data.get("replicas", low)
    if _is_number(replicas) and low <= high and not low <= replicas <= high:
        yield Finding(
            below(extension.path, "replicas"),
            f"{replicas} is not in {low}..{high}, the bounds of autoscale",
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
