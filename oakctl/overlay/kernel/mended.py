"""What others changed of the overlay and the agent made good again, for whoever looks later. Pure.

Belongs here: how long it is told, and in which words. Does not belong here: finding and mending it
(`driver`, `passage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

TOLD_S = 900.0  # after the last time


@dataclass(frozen=True)
class Mend:
    """`at`: seconds since the epoch, to show; `seen`: of a clock that nobody sets."""

    at: float
    seen: float
    times: int = 1


def remembered(
    known: Mapping[str, Mend], words: Iterable[str], wall: float, mono: float
) -> dict[str, Mend]:
    """With what was mended just now, and without what is long ago."""
    kept = {each: mend for each, mend in known.items() if mono - mend.seen < TOLD_S}
    for each in words:
        before = kept.get(each, Mend(wall, mono, 0))
        kept[each] = replace(before, at=wall, seen=mono, times=before.times + 1)
    return kept


def told(known: Mapping[str, Mend]) -> tuple[str, ...]:
    """A line for each, with when it was last."""
    return tuple(f"{each} ({_when(mend)})" for each, mend in sorted(known.items()))


def _when(mend: Mend) -> str:
    at = datetime.fromtimestamp(mend.at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"at {at}" if mend.times == 1 else f"{mend.times} times, last at {at}"
