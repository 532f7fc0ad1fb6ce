"""How long ago a remote fact was told, and when that is too long.

Belongs here: the one scale for it. Does not belong here: whose fact it is.
"""

from __future__ import annotations

from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.rows import Cell, cell
from oakctl.tui.viewmodels.status import Tone

# Heartbeats come each second; an age beyond three and ten of them is worth a look.
LATE_S, SILENT_S = 3.0, 10.0


def age_cell(since: float, now: float) -> Cell:
    """The age of what was said at `since`, in the tone of how late that is."""
    elapsed = now - since
    tone = None
    if since > 0 and elapsed > SILENT_S:
        tone = Tone.BAD
    elif since > 0 and elapsed > LATE_S:
        tone = Tone.WARNING
    return cell(words.age(since, now), tone)
