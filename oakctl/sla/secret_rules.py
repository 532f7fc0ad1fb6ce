"""Rules of `oakctl.secrets`: where each goes, and that no two are the same variable.

Belongs here: one service's secrets. Works on trees with other faults in them. Does not belong
here: whether a secret exists, which the root knows; what else is at a file's place
(`section_rules`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oakctl.model import secrets
from oakctl.model.secrets import SecretUse
from oakctl.model.views import Finding
from oakctl.sla import fields
from oakctl.sla.paths import below, shown
from oakctl.sla.places import ServicePlace, elements, section, text

CONTAINERS = ("container", "docker")
TAKERS = (*CONTAINERS, "process")


def check(place: ServicePlace) -> Iterator[Finding]:
    """Every fault of them."""
    kind = text(place.data, "virtualization")
    given = _variables(place)
    seen: set[str] = set()
    for path, entry, use in _uses(place):
        if isinstance(use, ValueError):
            yield Finding(path, f"{shown(entry)} {use}")
            continue
        if kind and kind not in TAKERS:
            yield Finding(path, f"{shown(entry)}: a {kind} takes no secrets")
        elif use.kind == secrets.FILE and use.target.startswith("/") and kind not in CONTAINERS:
            yield Finding(
                path,
                f"{shown(use.target)} is a path, and a {kind} shares its host's files",
                hint=f"give the name of a file: it is in the directory ${secrets.VARIABLE}",
            )
        if use.kind == secrets.ENV and use.target in given:
            yield Finding(path, f"{shown(use.target)} is set in `environment` too")
        if use.kind == secrets.ENV and use.target in seen:
            yield Finding(path, f"{shown(use.target)} is another secret's variable already")
        if use.kind == secrets.ENV:
            seen.add(use.target)


def container_files(place: ServicePlace) -> Iterator[tuple[str, Any, str]]:
    """(path in the file, entry, path in the container) of those that are files there."""
    for path, entry, use in _uses(place):
        if isinstance(use, SecretUse) and use.kind == secrets.FILE:
            yield path, entry, use.path


def _uses(place: ServicePlace) -> Iterator[tuple[str, Any, SecretUse | ValueError]]:
    """Those entries whose parts are what the schema says; the others are its to report."""
    inside = below(below(place.path, "oakctl"), "secrets")
    for index, entry in enumerate(elements(section(place.data, "oakctl"), "secrets")):
        parts = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(parts, dict):
            continue
        name, kind = parts.get("name"), parts.get("as", secrets.FILE)
        target = parts.get("target", "")
        if not isinstance(name, str) or not isinstance(target, str):
            continue
        if not secrets.is_name(name) or kind not in (secrets.FILE, secrets.ENV):
            continue
        path = below(inside, index)
        try:
            yield path, entry, fields.secret(name, kind, target)
        except ValueError as error:
            yield path, entry, error


def _variables(place: ServicePlace) -> set[str]:
    lines = elements(place.data, "environment")
    return {line.partition("=")[0] for line in lines if isinstance(line, str)}
