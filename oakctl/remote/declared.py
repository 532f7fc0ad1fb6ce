"""What a host declares of itself in its sessions' environment: resources and a place on earth.

A lab's hosts share one machine, so what they offer is declared; it is marked as such wherever it
is shown. Does not belong here: what was found out (`facts`).
"""

from __future__ import annotations

import json
from dataclasses import fields

from oakctl.errors import OakError
from oakctl.model.resources import Location, Resources
from oakctl.remote.facts import HostFacts

DECLARED = "OAKCTL_DECLARED"
LOCATION = "OAKCTL_LOCATION"


def declared_location(facts: HostFacts) -> Location | None:
    """The host's declared place, None without one; raises OakError when it is no place."""
    text = facts.environment.get(LOCATION, "")
    if not text:
        return None
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OakError(f"{LOCATION}={text!r} is not LATITUDE,LONGITUDE") from error
    return Location(latitude, longitude)


def declared_resources(facts: HostFacts) -> Resources:
    """What the host declares to have; zero where it declares nothing. Raises OakError."""
    text = facts.environment.get(DECLARED, "")
    if not text:
        return Resources()
    known = {field.name for field in fields(Resources)}
    try:
        return Resources(
            **{name: amount for name, amount in json.loads(text).items() if name in known}
        )
    except (ValueError, AttributeError, TypeError) as error:
        raise OakError(f"{DECLARED}={text!r} is not a JSON object of resources") from error
