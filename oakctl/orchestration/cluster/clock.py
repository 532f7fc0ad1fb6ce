"""The two times that every decision is given: what to show, and what to measure with.

Belongs here: reading the clocks. Does not belong here: any deadline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Now:
    """One moment.

    `wall` is seconds since the epoch: shown, stored, compared by other machines. `mono` is
    seconds of a clock that never jumps: every silence and deadline is measured with it, so that
    setting the clock of a host (a Raspberry Pi at its first contact with a time server) gives
    nobody up.
    """

    wall: float
    mono: float


def read() -> Now:
    """This moment."""
    return Now(time.time(), time.monotonic())
