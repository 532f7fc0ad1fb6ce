"""Services and their places in a tree that may be wrong anywhere.

Belongs here: tolerant reading, so that rules over the whole file find their faults although
other parts of it are broken. Does not belong here: the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oakctl.model.service import job_name
from oakctl.sla.paths import below


@dataclass(frozen=True)
class ServiceName:
    """The four parts of a job name; "" where the file has no usable one."""

    application: str
    app_namespace: str
    service: str
    namespace: str

    @property
    def job_name(self) -> str:
        """`application.namespace.service.namespace`."""
        return job_name(self.application, self.app_namespace, self.service, self.namespace)

    def same_application(self, other: ServiceName) -> bool:
        """Whether both are of one application."""
        return (self.application, self.app_namespace) == (other.application, other.app_namespace)


@dataclass(frozen=True)
class Place:
    """An object of the file and where it is."""

    path: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ServicePlace(Place):
    """A microservice of the file."""

    name: ServiceName


def objects(value: Any, path: str) -> Iterator[Place]:
    """The objects in the list `value`; what is no object is the schema's business."""
    if isinstance(value, list):
        for index, element in enumerate(value):
            if isinstance(element, dict):
                yield Place(below(path, index), element)


def applications(tree: Any) -> list[Place]:
    """The applications of a file."""
    return list(objects(tree.get("applications"), "applications"))


def services(tree: Any) -> list[ServicePlace]:
    """The microservices of all applications of a file."""
    found = []
    for application in applications(tree):
        inside = below(application.path, "microservices")
        for place in objects(application.data.get("microservices"), inside):
            name = ServiceName(
                text(application.data, "application_name"),
                text(application.data, "application_namespace"),
                text(place.data, "microservice_name"),
                text(place.data, "microservice_namespace"),
            )
            found.append(ServicePlace(place.path, place.data, name))
    return found


def text(data: dict[str, Any], key: str) -> str:
    """The string under `key`, or "" when there is none."""
    value = data.get(key)
    return value if isinstance(value, str) else ""


def section(data: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under `key`, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def elements(data: dict[str, Any], key: str) -> list[Any]:
    """The list under `key`, or an empty one."""
    value = data.get(key)
    return value if isinstance(value, list) else []
