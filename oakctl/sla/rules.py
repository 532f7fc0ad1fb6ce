"""Rules over the whole file: names, published ports, service addresses, connectivity.

Belongs here: what two places of a file may not say together. Works on trees with other faults
in them. Does not belong here: rules inside one section (`section_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oakctl.model.views import Finding
from oakctl.sla import fields
from oakctl.sla.paths import below, shown
from oakctl.sla.places import ServicePlace, applications, elements, section, services, text
from oakctl.sla.references import resolve


def check(tree: dict[str, Any]) -> list[Finding]:
    """Every fault of the file as a whole."""
    found = services(tree)
    return [
        *_application_names(tree),
        *_service_names(found),
        *_ports(found),
        *_listen(found),
        *_addresses(found),
        *_connectivity(found),
    ]


def external_targets(tree: dict[str, Any]) -> tuple[str, ...]:
    """Full job names in `connectivity` of services that are not in this file."""
    found = services(tree)
    names = [place.name for place in found]
    targets: dict[str, None] = {}
    for place in found:
        for _, target in _targets(place):
            resolution = resolve(target, place.name, names)
            if resolution.external:
                targets[resolution.job_name] = None
    return tuple(targets)


def _application_names(tree: dict[str, Any]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for place in applications(tree):
        name = text(place.data, "application_name")
        namespace = text(place.data, "application_namespace")
        if name:
            full = f"{name}.{namespace}" if namespace else name
            key = (name.lower(), namespace.lower())
            yield from _twice(seen, key, full, below(place.path, "application_name"))


def _service_names(found: Sequence[ServicePlace]) -> Iterator[Finding]:
    seen: dict[tuple[str, ...], tuple[str, str]] = {}
    for place in found:
        name = place.name
        if name.service:
            # Two applications of one name are a fault of their own; their services are apart.
            application = place.path.split(".")[0]
            full = f"{name.service}.{name.namespace}" if name.namespace else name.service
            key = (application, name.service.lower(), name.namespace.lower())
            yield from _twice(seen, key, full, below(place.path, "microservice_name"))


def _twice(seen: dict[Any, tuple[str, str]], key: Any, full: str, path: str) -> Iterator[Finding]:
    """Names are looked up without regard to case, so they have to differ otherwise."""
    if key not in seen:
        seen[key] = (full, path)
        return
    first, where = seen[key]
    if first == full:
        yield Finding(path, f"{shown(full)} is already the name of {_owner(where)}")
    else:
        yield Finding(
            path, f"{shown(full)} differs only by case from {shown(first)} of {_owner(where)}"
        )


def _owner(path: str) -> str:
    return path.rpartition(".")[0]


def _ports(found: Sequence[ServicePlace]) -> Iterator[Finding]:
    seen: dict[tuple[int, str], str] = {}
    for place in found:
        path = below(place.path, "port")
        for port in _read(fields.ports, text(place.data, "port"), ()):
            key = (port.host, port.protocol)
            if key in seen:
                yield Finding(
                    path,
                    f"{shown(text(place.data, 'port'))} publishes {port.host}/{port.protocol}, "
                    f"which {_owner(seen[key])} publishes already",
                )
            seen.setdefault(key, path)


def _listen(found: Sequence[ServicePlace]) -> Iterator[Finding]:
    for place in found:
        taken = {
            (port.container, port.protocol)
            for port in _read(fields.ports, text(place.data, "port"), ())
        }
        path = below(below(place.path, "oakctl"), "listen")
        for index, entry in enumerate(elements(section(place.data, "oakctl"), "listen")):
            port = _read(fields.listen, entry, None) if isinstance(entry, str) else None
            if port is None:
                continue
            if (port.container, port.protocol) in taken:
                yield Finding(
                    below(path, index), f"{shown(entry)} is a port of this service already"
                )
            taken.add((port.container, port.protocol))


def _read(form: Callable[[str], Any], value: str, otherwise: Any) -> Any:
    """`value` in its form; a value without it is the schema's fault to report."""
    try:
        return form(value)
    except ValueError:
        return otherwise


def _addresses(found: Sequence[ServicePlace]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for place in found:
        further = section(section(place.data, "oakctl"), "addresses")
        beneath = below(place.path, "addresses")
        for given, where, key in (
            (section(place.data, "addresses"), beneath, "rr_ip"),
            (section(place.data, "addresses"), beneath, "closest_ip"),
            (further, below(below(place.path, "oakctl"), "addresses"), "least_loaded"),
        ):
            path = below(where, key)
            address = _read(fields.service_address, text(given, key), "")
            if not address:
                continue
            if address in seen:
                yield Finding(path, f"{shown(address)} is given already, at {seen[address]}")
            seen.setdefault(address, path)


def _targets(place: ServicePlace) -> Iterator[tuple[str, str]]:
    path = below(place.path, "connectivity")
    for index, entry in enumerate(elements(place.data, "connectivity")):
        target = text(entry, "target_microservice_id") if isinstance(entry, dict) else ""
        if target.strip():
            yield below(below(path, index), "target_microservice_id"), target


def _connectivity(found: Sequence[ServicePlace]) -> Iterator[Finding]:
    names = [place.name for place in found]
    for place in found:
        variables: dict[str, str] = {}
        for path, target in _targets(place):
            resolution = resolve(target, place.name, names)
            if resolution.problem:
                yield Finding(path, f"{shown(target)} {resolution.problem}", hint=resolution.hint)
                continue
            variable = f"OAKCTL_ADDR_{resolution.job_name.split('.')[2].upper()}"
            other = variables.setdefault(variable, resolution.job_name)
            if other != resolution.job_name:
                yield Finding(path, f"{shown(target)} and {other} would both be {variable}")
