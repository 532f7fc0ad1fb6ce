"""What differs between how a cluster or a worker is described and how it was asked for. Pure.

Belongs here: the words, `policy: rom → spread`. Does not belong here: what follows from them
(`root.admission`, `fleet.planner`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from oakctl.model.requests import ClusterCreate, WorkerAdd
from oakctl.model.resources import Location, Resources


def of_cluster(known: ClusterCreate, wanted: ClusterCreate) -> tuple[str, ...]:
    """What differs; host and name are not looked at."""
    return tuple(
        differs(title, before, after)
        for title, before, after in (
            ("policy", known.policy, wanted.policy),
            ("location", place(known.location), place(wanted.location)),
        )
        if before != after
    )


def of_worker(known: WorkerAdd, wanted: WorkerAdd) -> tuple[str, ...]:
    """What differs; host, name and cluster are not looked at."""
    return tuple(
        differs(title, before, after)
        for title, before, after in _of_worker(known, wanted)
        if before != after
    )


def _of_worker(known: WorkerAdd, wanted: WorkerAdd) -> Iterator[tuple[str, str, str]]:
    for field in fields(Resources):
        before, after = (getattr(each.contribution, field.name) or None for each in (known, wanted))
        yield field.name, _amount(before), _amount(after)
    yield "declared", ", ".join(sorted(known.declared)), ", ".join(sorted(wanted.declared))
    yield "location", place(known.location), place(wanted.location)
    yield "overlay", known.overlay, wanted.overlay
    yield "endpoint", known.endpoint, wanted.endpoint
    yield "relay", "yes" * known.relay, "yes" * wanted.relay
    for key in sorted({*wanted.labels, *known.labels}):
        yield f"label {key}", known.labels.get(key, ""), wanted.labels.get(key, "")


def differs(title: str, before: str, after: str) -> str:
    """`policy: rom → spread`."""
    return f"{title}: {before or '-'} → {after or '-'}"


def place(location: Location | None) -> str:
    """`48.26,11.67`."""
    return f"{location.latitude:g},{location.longitude:g}" if location else ""


def _amount(value: float | None) -> str:
    return f"{value:g}" if value else ""
