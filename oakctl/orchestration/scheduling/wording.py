"""How resources and constraints are named in the reasons of verdicts.

Belongs here: words that node filters and cluster filters share. Does not belong here: a rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from oakctl.model.resources import Resources
from oakctl.model.service import Constraint, ServiceSpec

UNITS = {
    "vcpus": "vcpus",
    "memory_mb": "MiB memory",
    "storage_mb": "MiB storage",
    "vgpus": "vgpus",
    "vtpus": "vtpus",
    "bandwidth_in_kbit": "kbit/s incoming bandwidth",
    "bandwidth_out_kbit": "kbit/s outgoing bandwidth",
}
ENFORCED = frozenset({"geo", "direct", "clusters"})


def amount(value: float) -> str:
    """A number without needless digits."""
    return f"{value:g}" if isinstance(value, int) else f"{round(value, 2):g}"


def listed(names: Iterable[str]) -> str:
    """Names in alphabetical order, or "none"."""
    return ", ".join(sorted(names)) or "none"


def short_of(requests: Resources, free: Resources, field: str) -> str:
    """ "asks for 1 vgpus, 0 free", or nothing when there is enough of `field`."""
    short = requests.shortfalls(free).get(field)
    if short is None:
        return ""
    asked, available = short
    return f"asks for {amount(asked)} {UNITS[field]}, {amount(max(0, available))} free"


def not_enforced(spec: ServiceSpec) -> tuple[str, ...]:
    """One note for each constraint that no filter checks yet."""
    notes = [_note(constraint, "") for constraint in spec.constraints]
    for link in spec.connectivity:
        notes += [_note(constraint, f" to {link.target}") for constraint in link.constraints]
    return tuple(dict.fromkeys(note for note in notes if note))


def _note(constraint: Constraint, to: str) -> str:
    # Between services only the distance is checked; `direct` has no meaning there.
    checked = constraint.kind == "geo" if to else constraint.kind in ENFORCED
    if checked:
        return ""
    if constraint.kind == "latency":
        where = to or (f" to {constraint.area}" if constraint.area else "")
        return f"latency{where} of at most {amount(constraint.threshold)} ms is not enforced yet"
    return f"constraint {constraint.kind!r}{to} is not enforced yet"
