"""Descriptors for tests: a right one, to be spoiled at one place."""

from __future__ import annotations

import json
from typing import Any

from oakctl import sla
from oakctl.sla.check import Checked


def service(name: str = "web", **changes: Any) -> dict[str, Any]:
    """A microservice that nothing is said against, with `changes`; None takes a key away."""
    fields: dict[str, Any] = {
        "microserviceID": "",
        "microservice_name": name,
        "microservice_namespace": "prod",
        "virtualization": "container",
        "code": "docker.io/library/nginx:latest",
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def application(*services: dict[str, Any], name: str = "shop", **changes: Any) -> dict[str, Any]:
    """An application of these services."""
    return {
        "application_name": name,
        "application_namespace": "prod",
        "microservices": list(services),
        **changes,
    }


def descriptor(*applications: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A file of these applications."""
    return {
        "sla_version": "v2.0",
        "customerID": "Admin",
        "applications": list(applications),
        **changes,
    }


def checked(*services: dict[str, Any]) -> Checked:
    """What a file of one application with these services is found to be."""
    return sla.parse(json.dumps(descriptor(application(*services))))


def errors(found: Checked) -> list[str]:
    """The faults as users read them, without the path of the first application."""
    return [short(str(finding)) for finding in found.errors]


def warnings(found: Checked) -> list[str]:
    """The warnings, likewise."""
    return [short(str(finding)) for finding in found.warnings]


def short(text: str) -> str:
    """Without the beginning that all paths of a one-application file share."""
    return text.replace("applications[0].microservices", "services")
