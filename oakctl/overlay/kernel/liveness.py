"""Which nodes answer, and how far they are, from probes that were sent and answers that came. Pure.

Belongs here: when a node counts as unreachable, and what a measure is worth. Does not belong here:
sending (`probes`), what follows for services (`planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

INTERVAL_S = 0.25
MISSES = 3  # so that a node's end is known between 0.75 and 1 s after it
# One probe in so many is as large as packets get: paths exist that carry small ones only.
LARGE_EVERY = 10
_WEIGHT = 0.25  # of a new measure
_NEWS_SHARE, _NEWS_MS = 0.1, 0.5  # smaller changes of a round-trip are no news


@dataclass(frozen=True)
class Pulse:
    """What is known of one node. A round-trip of less than 0 was never measured."""

    round_trip_ms: float = -1.0
    waiting: int = 0  # probes in a row without an answer to any
    waiting_large: int = 0  # likewise, of the large ones alone
    probes: int = 0  # that were sent
    answers: int = 0  # that came

    @property
    def reachable(self) -> bool:
        """Whether it may be counted on."""
        return self.waiting <= MISSES and self.waiting_large <= MISSES

    @property
    def lost(self) -> int:
        """Probes without an answer; the last one may still get its."""
        return max(0, self.probes - self.answers - (1 if self.waiting else 0))


def sent(pulse: Pulse, large: bool) -> Pulse:
    """A probe is on its way. Those before it that have no answer by now are missed."""
    return replace(
        pulse,
        waiting=pulse.waiting + 1,
        waiting_large=pulse.waiting_large + int(large),
        probes=pulse.probes + 1,
    )


def forgiven(pulse: Pulse) -> Pulse:
    """What was missed is forgotten: there is another way to the node now."""
    return replace(pulse, waiting=0, waiting_large=0)


def answered(pulse: Pulse, large: bool, round_trip_ms: float) -> Pulse:
    """An answer came: to the last probe or one before it."""
    before = pulse.round_trip_ms
    # A large packet takes longer on a slow line: that is no news of the node.
    measure = before if large and before >= 0 else round_trip_ms
    if before >= 0 and not large:
        measure = before + _WEIGHT * (round_trip_ms - before)
    waiting_large = 0 if large else pulse.waiting_large
    return Pulse(measure, 0, waiting_large, pulse.probes, pulse.answers + 1)


def unreachable(pulses: Mapping[str, Pulse]) -> frozenset[str]:
    """The nodes that do not answer."""
    return frozenset(name for name, pulse in pulses.items() if not pulse.reachable)


def round_trips_ms(pulses: Mapping[str, Pulse]) -> dict[str, float]:
    """The round-trips to nodes that answer."""
    known = ((name, pulse) for name, pulse in pulses.items() if pulse.reachable)
    return {name: pulse.round_trip_ms for name, pulse in known if pulse.round_trip_ms >= 0}


def is_news(told: Mapping[str, Pulse], now: Mapping[str, Pulse]) -> bool:
    """Whether what is known differs so much from what was told last that it should be told."""
    if unreachable(told) != unreachable(now):
        return True
    before, after = round_trips_ms(told), round_trips_ms(now)
    return before.keys() != after.keys() or any(
        abs(ms - before[name]) > max(_NEWS_MS, before[name] * _NEWS_SHARE)
        for name, ms in after.items()
    )
