"""Files from before SLA v2.0: `microservices` at the top, no applications.

Belongs here: telling one and wrapping it. Does not belong here: checking what is inside.
"""

from __future__ import annotations

import json
from typing import Any

from oakctl.errors import OakError
from oakctl.model.views import Finding
from oakctl.sla.bounds import Unreadable
from oakctl.sla.fields import is_name
from oakctl.sla.paths import shown
from oakctl.sla.places import objects, text
from oakctl.sla.reading import read

FINDING = Finding(
    path="microservices",
    message="is at the top of the file: this is the shape from before SLA v2.0, "
    "which has microservices inside applications[]",
    hint="`oakctl app convert -f FILE` wraps it",
)


def is_old(tree: Any) -> bool:
    """Whether `tree` has microservices at the top and no applications."""
    return isinstance(tree, dict) and "microservices" in tree and "applications" not in tree


def wrap_old_shape(source: str | bytes, *, name: str = "converted", namespace: str = "") -> str:
    """The v2.0 descriptor (JSON) of one application with the microservices of an old file.

    The application's namespace is the services' own where they agree on one. Raises OakError
    when the text is unreadable or has another shape.
    """
    try:
        tree, findings = read(source)
    except Unreadable as error:
        raise OakError(f"cannot be converted: {error}", hint=error.finding.hint) from error
    if findings:
        lines = tuple(str(finding) for finding in findings)
        raise OakError("cannot be converted: it has faults", details=lines)
    if not is_old(tree):
        raise OakError(
            "nothing to convert: there is no `microservices` at the top beside no `applications`",
            hint="oakctl app validate -f FILE",
        )
    if not is_name(name) or (namespace and not is_name(namespace)):
        wrong = namespace if is_name(name) else name
        raise OakError(f"{shown(wrong)} is not a name: letters and digits, 1 to 30 of them")
    wrapped = {
        "sla_version": "v2.0",
        "customerID": text(tree, "customerID") or "Admin",
        "applications": [
            {
                "applicationID": "",
                "application_name": name,
                "application_namespace": namespace or _common_namespace(tree),
                "application_desc": "Converted from a file without applications",
                "microservices": tree["microservices"],
            }
        ],
    }
    return json.dumps(wrapped, indent=2, ensure_ascii=False) + "\n"


def _common_namespace(tree: dict[str, Any]) -> str:
    found = {
        text(place.data, "microservice_namespace")
        for place in objects(tree.get("microservices"), "microservices")
    }
    only = found.pop() if len(found) == 1 else ""
    return only if is_name(only) else "default"
