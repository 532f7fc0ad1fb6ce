"""How many instances a service should have, from what its instances measure. Pure.

Belongs here: the number, and why. Does not belong here: where measures come from (`autoscaler`),
or who carries it out (the root, which owns the numbers of instances).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oakctl.model.service import Autoscale, ServiceSpec

FRESH_S = 10.0  # what was measured longer ago counts as missing
TOLERANCE = 0.1  # a mean so near to its target, by share, is on it
CPU = "cpu"
UNITS = {CPU: " %", "queue_delay_ms": " ms", "latency_ms": " ms", "rps": "/s"}


@dataclass(frozen=True)
class Measured:
    """What one instance says: metric → value, and whether it has settled (runs, is ready).

    A metric that is not in `values` is missing: never told, too old, or no number.
    """

    values: dict[str, float]
    settled: bool = True


@dataclass(frozen=True)
class Memory:
    """What earlier decisions leave for the next one. Times are monotonic seconds."""

    above_since: float | None = None  # more are wanted without a break since
    below_since: float | None = None  # fewer are, likewise
    changed_at: float | None = None  # the number was another before
    had: int = -1
    needed: int = 0  # the most that were recommended since then


@dataclass(frozen=True)
class Outcome:
    """The count to have, and why it is this one."""

    wanted: int
    reason: str
    memory: Memory


def values_of(spec: ServiceSpec, cpu_percent: float, metrics: dict[str, float]) -> dict[str, float]:
    """Metric as named in a descriptor → what this instance measured, of those that are known.

    A program names its metrics `queue_delay_ms`, or with a prefix, `ar_queue_delay_ms`.
    """
    asked = spec.requests.vcpus
    found = {CPU: cpu_percent / asked if asked > 0 else cpu_percent}
    targets = spec.autoscale.targets if spec.autoscale else {}
    for metric in targets:
        named = sorted(name for name in metrics if name == metric or name.endswith(f"_{metric}"))
        if metric != CPU and named:
            found[metric] = metrics[min(named, key=len)]
    return {name: value for name, value in found.items() if math.isfinite(value) and value >= 0}


def decide(rules: Autoscale, instances: Sequence[Measured], memory: Memory, now: float) -> Outcome:
    """How many instances are to be there, where `instances` are. Within the bounds if those are.

    Without a measure of every instance none is taken away, and those that have none count as idle
    where more are wanted. While one is on its way none is added.
    """
    have = len(instances)
    if have != memory.had:
        changed_at = memory.changed_at if memory.had < 0 else now
        memory = Memory(changed_at=changed_at, had=have)
    if not have:
        return Outcome(0, "", memory)
    asked, reason = _recommended(rules, instances)
    asked = min(max(asked, rules.minimum), rules.maximum)
    if asked > have:
        return _up(rules, instances, _rising(memory, now), asked, reason, now)
    if asked < have:
        return _down(rules, have, _falling(memory, asked, now), reason, now)
    return Outcome(have, "", replace(memory, above_since=None, below_since=None))


def _recommended(rules: Autoscale, instances: Sequence[Measured]) -> tuple[int, str]:
    """The highest count that any target asks for, with the target that does."""
    have, best, why = len(instances), 0, ""
    for metric, target in rules.targets.items():
        known = [one.values[metric] for one in instances if metric in one.values]
        mean = sum(known) / have  # who is silent counts as idle
        count = have if abs(mean / target - 1) <= TOLERANCE else math.ceil(have * mean / target)
        if len(known) < have:
            count = max(count, have)
        if count > best or not why:
            best, why = count, f"{metric} {_amount(metric, mean)}, target {_amount(metric, target)}"
    return (best, why) if why else (have, "")


def _amount(metric: str, value: float) -> str:
    return f"{value:.4g}{UNITS.get(metric, '')}"


def _rising(memory: Memory, now: float) -> Memory:
    since = now if memory.above_since is None else memory.above_since
    return replace(memory, above_since=since, below_since=None)


def _falling(memory: Memory, asked: int, now: float) -> Memory:
    if memory.below_since is None:
        return replace(memory, above_since=None, below_since=now, needed=asked)
    return replace(memory, needed=max(memory.needed, asked))


def _up(
    rules: Autoscale,
    instances: Sequence[Measured],
    memory: Memory,
    asked: int,
    reason: str,
    now: float,
) -> Outcome:
    have, pace, since = len(instances), rules.up, memory.above_since
    assert since is not None
    waits = now - since < pace.stabilisation_s or _cools(memory, pace.cooldown_s, now)
    if have >= rules.minimum and (waits or not all(one.settled for one in instances)):
        return Outcome(have, "", memory)
    wanted = max(min(asked, have + pace.step), min(rules.minimum, asked))
    why = f"{reason} for {now - since:.0f} s" if have >= rules.minimum else "below its minimum"
    return Outcome(wanted, why, memory)


def _down(rules: Autoscale, have: int, memory: Memory, reason: str, now: float) -> Outcome:
    pace, since = rules.down, memory.below_since
    assert since is not None
    waits = now - since < pace.stabilisation_s or _cools(memory, pace.cooldown_s, now)
    if have <= rules.maximum and waits:
        return Outcome(have, "", memory)
    wanted = min(max(memory.needed, have - pace.step), rules.maximum)
    why = f"{reason} for {now - since:.0f} s" if have <= rules.maximum else "above its maximum"
    return Outcome(wanted, why, memory)


def _cools(memory: Memory, cooldown_s: float, now: float) -> bool:
    return memory.changed_at is not None and now - memory.changed_at < cooldown_s
