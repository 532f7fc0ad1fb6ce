"""Small descriptors for the root's tests."""

from __future__ import annotations

import hashlib
import json
from typing import Any

ARTIFACT = b"not really a tar.gz, and nobody here unpacks it" * 30_000  # more than one piece
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()


def service(name: str, replicas: int = 1, **more: Any) -> dict[str, Any]:
    """One process service."""
    extension = {"replicas": replicas, **more.pop("oakctl", {})}
    return {
        "microserviceID": "",
        "microservice_name": name,
        "microservice_namespace": "demo",
        "virtualization": "process",
        "cmd": ["run"],
        "memory": 64,
        "vcpus": 0,
        "code": f"sha256:{SHA256}",
        "oakctl": extension,
        **more,
    }


def application(*services: dict[str, Any], name: str = "ar") -> str:
    """A descriptor with one application."""
    return json.dumps(
        {
            "sla_version": "v2.0",
            "customerID": "Admin",
            "applications": [
                {
                    "applicationID": "",
                    "application_name": name,
                    "application_namespace": "demo",
                    "application_desc": "for tests",
                    "microservices": list(services),
                }
            ],
        }
    )


def talks_to(target: str) -> list[dict[str, Any]]:
    """A connectivity list with one target."""
    return [{"target_microservice_id": target, "con_constraints": []}]
