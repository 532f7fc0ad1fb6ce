"""What makes one worker better than another: the policies an operator may choose from.

A policy scores a worker that passed every filter. Scores are deterministic; equal ones are
settled by name, by whoever compares. More policies come from entry points (`plugins`). Does not
belong here: what excludes a worker (`filters`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from oakctl.errors import NotFound
from oakctl.model.resources import Resources
from oakctl.model.service import ServiceSpec
from oakctl.orchestration.scheduling import plugins
from oakctl.orchestration.scheduling.candidate import Candidate

DEFAULT = "rom"


@dataclass(frozen=True)
class Score:
    """How good a worker is; higher is better, compared part by part. The first part is shown."""

    parts: tuple[float, ...]
    reasons: tuple[str, ...] = ()


Policy = Callable[[ServiceSpec, Candidate], Score]


def rom(spec: ServiceSpec, candidate: Candidate) -> Score:
    """Resource-only best fit: the worker that the service fills most.

    Large free workers stay whole for large services, and accelerators that are not asked for
    stay free, since an idle one counts as room left over.
    """
    left = left_share(candidate.facts.capacity, candidate.free - spec.requests)
    return Score((_percent(1 - left),), (f"rom: {_percent(left):g} % would be left free",))


def spread(spec: ServiceSpec, candidate: Candidate) -> Score:
    """Fairness: fewest instances of the service, then fewest of all, then most room left."""
    left = left_share(candidate.facts.capacity, candidate.free - spec.requests)
    reason = (
        f"spread: {candidate.instances_of_service} instances of the service and "
        f"{candidate.instances_total} in all are here, {_percent(left):g} % would be left free"
    )
    first = _percent(1 / (1 + max(0, candidate.instances_of_service)))
    # The share shown loses small differences between large counts; the count itself does not.
    order = (float(-candidate.instances_of_service), float(-candidate.instances_total))
    return Score((first, *order, _percent(left)), (reason,))


BUILT_IN: Mapping[str, Policy] = MappingProxyType({"rom": rom, "spread": spread})


def names() -> tuple[str, ...]:
    """All policies that can be chosen here: the built-in ones first."""
    return (*BUILT_IN, *(name for name in plugins.names() if name not in BUILT_IN))


def named(name: str) -> Policy:
    """The policy called `name`; raises NotFound."""
    policy = BUILT_IN.get(name)
    if policy is not None:
        return policy
    if name in plugins.names():
        loaded: Policy = plugins.load(name)
        return loaded
    raise NotFound(
        f"there is no scheduling policy {name!r}",
        hint=f"choose one of {', '.join(names())}: oakctl cluster set-policy CLUSTER POLICY",
    )


def left_share(capacity: Resources, left: Resources) -> float:
    """The mean share, 0 to 1, that `left` is of what a machine has of CPU, memory, accelerators."""
    shares = [
        min(1.0, max(0.0, getattr(left, field.name) / getattr(capacity, field.name)))
        for field in fields(Resources)
        if field.name in ("vcpus", "memory_mb", "vgpus", "vtpus")
        and getattr(capacity, field.name) > 0
    ]
    return sum(shares) / len(shares) if shares else 0.0


def _percent(share: float) -> float:
    # Rounded, so that the order of additions never decides a placement.
    return round(100 * share, 3)
