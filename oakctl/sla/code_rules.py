"""Rules of what runs: `code`, and `oakctl.code` with one for each architecture.

Belongs here: that there is one, and that each is of the form that its runtime wants. Works on
trees with other faults in them. Does not belong here: images and artifacts themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oakctl.model.views import Finding
from oakctl.sla import fields
from oakctl.sla.paths import below, shown
from oakctl.sla.places import ServicePlace, elements, section, text


def check(place: ServicePlace) -> Iterator[Finding]:
    """Every fault and warning about them."""
    code = text(place.data, "code")
    mapping = section(place.data, "oakctl").get("code")
    path = below(place.path, "code")
    if mapping is None:
        if "code" not in place.data:
            yield Finding(path, "is missing")
        yield from _form(place, path, code)
        return
    inside = below(below(place.path, "oakctl"), "code")
    known = _codes(mapping)
    if isinstance(known, ValueError):
        yield Finding(inside, f"{shown(mapping)} {known}")
        return
    for key, value in mapping.items() if known else ():
        yield from _form(place, below(inside, key), value)
    if code and known and code not in known.values():
        message = f"{shown(code)} is not used: oakctl.code says what runs on which architecture"
        yield Finding(path, message, "warning")
    yield from _architectures(place, known)


def _form(place: ServicePlace, path: str, code: str) -> Iterator[Finding]:
    if text(place.data, "virtualization") == "process" and code:
        try:
            fields.artifact_reference(code)
        except ValueError as error:
            yield Finding(path, f"{shown(code)} {error}")


def _codes(mapping: Any) -> dict[str, str] | ValueError:
    """What it says; nothing where it has no such shape, which is the schema's to report."""
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        return {}
    try:
        return fields.codes(mapping)
    except ValueError as error:
        return error


def _architectures(place: ServicePlace, known: dict[str, str]) -> Iterator[Finding]:
    path = below(place.path, "arch")
    for index, entry in enumerate(elements(place.data, "arch")):
        if known and isinstance(entry, str) and fields.architecture(entry) not in known:
            listed = ", ".join(known)
            yield Finding(
                below(path, index),
                f"{shown(entry)} has no code: oakctl.code has some for {listed}",
            )
