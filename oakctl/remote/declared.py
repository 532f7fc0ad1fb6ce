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
MOST = 1_000_000_000  # of any resource, in its unit
LONGEST = 200  # characters of a wrong value that an error shows


def declared_location(facts: HostFacts) -> Location | None:
    """The host's declared place, None without one; raises OakError when it is no place."""
    text = facts.environment.get(LOCATION, "")
    if not text:
        return None
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as error:
        raise _wrong(LOCATION, text, "LATITUDE,LONGITUDE") from error
    # Also what is no number: it is in no range.
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise _wrong(LOCATION, text, "on earth (-90 to 90, -180 to 180)")
    return Location(latitude, longitude)


def declared_resources(facts: HostFacts) -> Resources:
    """What the host declares to have; zero where it declares nothing. Raises OakError."""
    text = facts.environment.get(DECLARED, "")
    if not text:
        return Resources()
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(DECLARED, text, "a JSON object of resources") from error
    if not isinstance(told, dict):
        raise _wrong(DECLARED, text, "a JSON object of resources")
    known = {field.name: told[field.name] for field in fields(Resources) if field.name in told}
    for name, amount in known.items():
        whole = isinstance(amount, int) and not isinstance(amount, bool)
        part = name == "vcpus" and isinstance(amount, float)
        if not (whole or part) or not 0 <= amount <= MOST:
            raise _wrong(DECLARED, text, f"an amount of each resource: {name} is {amount!r}")
    return Resources(**known)


def _wrong(variable: str, text: str, form: str) -> OakError:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return OakError(
        f"{variable}={shown!r} is not {form}",
        hint=f"correct {variable} in the environment that the host gives its sessions",
    )
