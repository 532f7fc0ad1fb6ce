"""Telling how far a long upload has come, without telling every piece of it.

Belongs here: when there is something to say. Does not belong here: uploading (`connection`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from oakctl.model.views import StepEvent

TELL_EVERY_S = 3.0
STEP = "host: upload"

OnUpload = Callable[[str, int, int], None]  # what, bytes done, bytes in all


def teller(
    host: str, report: Callable[[StepEvent], None], clock: Callable[[], float] = time.monotonic
) -> OnUpload:
    """Reports uploads that take longer than `TELL_EVERY_S`, that often, and their end."""
    begun: dict[str, float] = {}
    told: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = clock()
        first = begun.setdefault(what, now)
        if done < total:
            if now - told.get(what, first) >= TELL_EVERY_S:
                told[what] = now
                message = f"{what}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"
                report(StepEvent(time.time(), host, STEP, "running", message))
            return
        if told.pop(what, None) is not None:
            message = f"{what}: {total / 1e6:.1f} MB"
            report(StepEvent(time.time(), host, STEP, "done", message, now - first))
        del begun[what]

    return tell
