"""What a cluster tells its root of itself: sums, means and spreads, never its machines.

Belongs here: making an `Aggregate` of candidates. Does not belong here: ranking (`root`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from oakctl.model.messages import Aggregate, Slot
from oakctl.model.resources import Location, Resources
from oakctl.orchestration.scheduling.candidate import Candidate


def summarise(
    cluster: str,
    candidates: Sequence[Candidate],
    policy: str,
    location: Location | None,
    now: float,
) -> Aggregate:
    """The aggregate of the workers that take instances now.

    `location` is where the operator says the cluster is; None: the middle of its workers.
    `now` is in seconds since the epoch.
    """
    usable = sorted((c for c in candidates if c.usable), key=lambda c: c.name)
    places = [c.facts.location for c in usable if c.facts.location is not None]
    centre = location or _middle(places)
    cpu = [c.usage.cpu_percent for c in usable]
    memory = [c.usage.memory_percent for c in usable]
    return Aggregate(
        cluster=cluster,
        sent_at=now,
        policy=policy,
        workers=len(usable),
        capacity=_total(c.facts.capacity for c in usable),
        free=_total(_positive(c.free) for c in usable),
        largest_free=largest_free(usable),
        runtimes=tuple(sorted({runtime for c in usable for runtime in c.facts.runtimes})),
        cpu_percent_mean=_mean(cpu),
        cpu_percent_stddev=_deviation(cpu),
        memory_percent_mean=_mean(memory),
        memory_percent_stddev=_deviation(memory),
        location=centre,
        area_km=max((centre.distance_km(p) for p in places), default=0.0) if centre else 0.0,
        worker_names=tuple(c.name for c in usable),
    )


def largest_free(usable: Sequence[Candidate]) -> tuple[Slot, ...]:
    """For each architecture, without and with each kind of accelerator: the most of each resource
    that any one worker has free.

    A slot counts as having GPUs (TPUs) only where its workers do, so a service that asks for
    one is measured against those workers alone. It is an upper bound: what no slot can take no
    worker can take; what a slot can take may still be refused by the cluster.
    """
    groups: dict[tuple[str, bool, bool], Resources] = {}
    for candidate in usable:
        free, arch = _positive(candidate.free), candidate.facts.architecture
        for gpu in {False, free.vgpus > 0}:
            for tpu in {False, free.vtpus > 0}:
                kept = replace(free, vgpus=free.vgpus if gpu else 0, vtpus=free.vtpus if tpu else 0)
                before = groups.get((arch, gpu, tpu), Resources())
                groups[arch, gpu, tpu] = _larger(before, kept)
    return tuple(Slot(key[0], free) for key, free in sorted(groups.items(), key=lambda kv: kv[0]))


def _larger(one: Resources, other: Resources) -> Resources:
    return Resources(
        *(max(getattr(one, f.name), getattr(other, f.name)) for f in fields(Resources))
    )


def _positive(resources: Resources) -> Resources:
    return _larger(resources, Resources())


def _total(amounts: Iterable[Resources]) -> Resources:
    total = Resources()
    for amount in amounts:
        total = total + amount
    return total


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def _middle(places: Sequence[Location]) -> Location | None:
    """The point amid places, over the sphere, so that the date line is no edge."""
    if not places:
        return None
    x = y = z = 0.0
    for place in places:
        latitude, longitude = math.radians(place.latitude), math.radians(place.longitude)
        x += math.cos(latitude) * math.cos(longitude)
        y += math.cos(latitude) * math.sin(longitude)
        z += math.sin(latitude)
    return Location(math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x)))
