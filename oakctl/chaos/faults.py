"""The faults there are, with their parameters. Pure.

Belongs here: kinds, what each is about, how long it lasts, its words for people. Does not belong
here: which host that means (`targets`), whether it can be done there (`possible`), how (`deeds`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum

from oakctl.errors import UsageError

DEFAULT_S = 30.0  # of a fault that lasts
LONGEST_S = 24 * 3600.0  # of any: whatever is forgotten is over by tomorrow
LEAVE_MB = 50.0  # MiB
LEAST_BITS = 8_000  # per second: with less, TCP does not get through at all
MOST_DELAY_MS = 60_000.0

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)?(bit|bps)?(?:/s)?", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)?i?b?", re.IGNORECASE)
_DELAY = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s)", re.IGNORECASE)
_BITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_MIB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0}


class Kind(str, Enum):
    """What breaks; the values are the verbs of the command line."""

    KILL_INSTANCE = "kill-instance"
    KILL_AGENT = "kill-agent"
    KILL_ORCHESTRATOR = "kill-orchestrator"
    KILL_BUS = "kill-bus"
    POWER_CUT = "power-cut"
    PARTITION = "partition"
    ISOLATE = "isolate"
    SLOW = "slow"
    FILL_DISK = "fill-disk"


# Which of our units a fault ends.
UNITS = {
    Kind.KILL_AGENT: "agent",
    Kind.KILL_ORCHESTRATOR: "orchestrator",
    Kind.KILL_BUS: "bus",
}
LASTING = frozenset({Kind.PARTITION, Kind.ISOLATE, Kind.SLOW, Kind.FILL_DISK})
NETWORK = frozenset({Kind.PARTITION, Kind.ISOLATE, Kind.SLOW})


@dataclass(frozen=True)
class Fault:
    """One fault. `for_s` 0: it happens once, and what it broke comes back by itself."""

    kind: Kind
    target: str  # as it was typed: an instance, a worker, a cluster, a node
    peer: str = ""  # the other end of a partition
    for_s: float = 0.0
    bits_per_s: int = 0  # of `slow`
    delay_ms: float = 0.0  # of `slow`
    leave_mb: float = LEAVE_MB  # MiB, of `fill-disk`

    @property
    def title(self) -> str:
        """Kind and target in one line."""
        ends = f"{self.target} {self.peer}".strip()
        return f"{self.kind.value} {ends}"


def fault(
    kind: Kind,
    target: str,
    *,
    peer: str = "",
    for_s: float | None = None,
    bits_per_s: int = 0,
    delay_ms: float = 0.0,
    leave_mb: float = LEAVE_MB,
) -> Fault:
    """A fault with its defaults; raises UsageError for parameters that make no sense."""
    lasts = DEFAULT_S if kind in LASTING else 0.0
    made = Fault(
        kind,
        target,
        peer,
        lasts if for_s is None else for_s,
        bits_per_s,
        delay_ms,
        leave_mb,
    )
    if for_s is not None and not 1.0 <= for_s <= LONGEST_S:
        raise UsageError(
            f"{made.title}: {for_s:g} s is not between a second and {LONGEST_S / 3600:.0f} hours",
            hint="give --for 30s, 2m, 1h, ...",
        )
    if kind is Kind.PARTITION and target == peer:
        raise UsageError(f"{target} cannot be parted from itself", hint="name two nodes")
    if kind is Kind.SLOW and not (bits_per_s or delay_ms):
        raise UsageError(
            f"{made.title}: how slow?", hint="give --bandwidth 1mbit, --delay 100ms, or both"
        )
    if leave_mb < 0:
        raise UsageError(f"{made.title}: less than nothing cannot be left free")
    return made


def rate(text: str) -> int:
    """Bits per second from "1mbit", "500k", "2.5Mbit/s"; raises UsageError."""
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a bandwidth", hint="write it as 500kbit or 2mbit")
    bits = round(float(found[1]) * _BITS[(found[2] or "").lower()])
    if bits < LEAST_BITS:
        raise UsageError(
            f"{text!r} is less than {LEAST_BITS // 1000} kbit/s, and so as good as none",
            hint="oakctl chaos isolate NODE cuts it off",
        )
    return bits


def size_mb(text: str) -> float:
    """MiB from "50MB", "1g", "200"; raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a size", hint="write it as 50MB or 1G")
    return float(found[1]) * _MIB[(found[2] or "m").lower()]


def delay_ms(text: str) -> float:
    """Milliseconds from "100ms", "0.5s"; raises UsageError."""
    found = _DELAY.fullmatch(text.strip())
    value = float(found[1]) * (1000 if found[2].lower() == "s" else 1) if found else 0.0
    if not 0 < value <= MOST_DELAY_MS:
        raise UsageError(f"{text!r} is not a delay", hint="write it as 100ms or 0.5s")
    return value


def key(fault: Fault, place: str) -> str:
    """What a fault at `place` is called on its host; the same again takes the place of the first.

    On a host there is one of a kind, but for kills (one for each instance) and partitions (one for
    each other end): `place` is that instance, or the other end.
    """
    if fault.kind not in (Kind.KILL_INSTANCE, Kind.PARTITION):
        return str(fault.kind.value)
    return f"{fault.kind.value}-{hashlib.sha256(place.encode()).hexdigest()[:10]}"


def span(seconds: float) -> str:
    """A duration for people: "30 s", "2 min", "1 h"."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
