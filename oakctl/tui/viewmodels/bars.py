"""Bars for what is taken of something, in eighths of a character.

Belongs here: drawing one. Does not belong here: of what.
"""

from __future__ import annotations

import math

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(used: float, total: float, width: int = 4) -> str:
    """`used` of `total` as a bar of `width` characters; "?" where that says nothing."""
    if not (math.isfinite(used) and math.isfinite(total)) or total <= 0:
        return "?".center(width)
    eighths = round(min(1.0, max(0.0, used / total)) * width * 8)
    if used > 0:
        eighths = max(1, eighths)  # a little is not nothing
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width, "·")
