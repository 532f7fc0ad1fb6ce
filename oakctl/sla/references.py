"""Whom `connectivity` names: `service`, `service.ns` or the full job name.

Belongs here: finding the service that a target means. Does not belong here: whether services of
other files exist (the root knows).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oakctl.sla import fields
from oakctl.sla.keys import closest
from oakctl.sla.places import ServiceName


@dataclass(frozen=True)
class Resolution:
    """The job name a target means, or the rule that it breaks (and a hint)."""

    job_name: str = ""
    external: bool = False  # a service of an application that is not in this file
    problem: str = ""
    hint: str = ""


def resolve(target: str, source: ServiceName, known: Sequence[ServiceName]) -> Resolution:
    """Which of the `known` services `target` means, named by the service `source`."""
    parts = target.split(".")
    if len(parts) == 4:
        return _full(target, parts, known)
    if len(parts) > 2 or not all(parts):
        return Resolution(problem="is not SERVICE, SERVICE.NAMESPACE or a full job name")
    own = [name for name in known if name.same_application(source)]
    found = [name for name in own if name.service == parts[0]]
    if len(parts) == 2:
        found = [name for name in found if name.namespace == parts[1]]
    elif len(found) > 1:
        # The namespace of whoever asks decides between services of one name.
        found = [name for name in found if name.namespace == source.namespace] or found
    if len({name.job_name for name in found}) > 1:
        spaces = ", ".join(f"{name.service}.{name.namespace}" for name in found)
        return Resolution(problem="names more than one service", hint=f"one of {spaces}")
    if found:
        return Resolution(found[0].job_name)
    return Resolution(problem="names a service that is not there", hint=_nearby(target, own, known))


def _full(target: str, parts: list[str], known: Sequence[ServiceName]) -> Resolution:
    wanted = ServiceName(*parts)
    if wanted in known:
        return Resolution(target)
    if not all(fields.is_name(part) for part in parts):
        return Resolution(problem="is not a full job name: application.ns.service.ns")
    siblings = [name for name in known if name.same_application(wanted)]
    if siblings:
        hint = _nearby(parts[2], siblings, known)
        return Resolution(problem="names a service that is not there", hint=hint)
    return Resolution(target, external=True)


def _nearby(target: str, own: Sequence[ServiceName], known: Sequence[ServiceName]) -> str:
    service = target.split(".")[0]
    close = closest(service, [name.service for name in own if name.service])
    if close:
        namespaces = {name.namespace for name in own if name.service == close}
        suffix = f".{min(namespaces)}" if close == service and "." in target else ""
        return f"did you mean `{close}{suffix}`?"
    for name in known:
        if name.service == service:
            return f"a service of another application goes by its full name, {name.job_name}"
    return "a service of another application goes by its full name, application.ns.service.ns"
