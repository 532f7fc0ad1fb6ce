"""How slow a host's cable is. Pure.

Belongs here: the amounts. Does not belong here: making it so (`namespaces.line`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Slow:
    """What happens to each packet, in both directions. `loss` from 0 to 1."""

    delay_ms: float = 0.0
    loss: float = 0.0
