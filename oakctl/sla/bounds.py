"""What a file may be at most, and the error for one that has no tree at all.

Belongs here: limits that keep a hostile or broken file from costing more than its finding.
Does not belong here: limits of single fields (`fields`).
"""

from __future__ import annotations

from oakctl.model.views import Finding

LARGEST_BYTES = 4 * 1024 * 1024
DEEPEST = 40  # levels; a descriptor with every field has nine
MOST_NODES = 100_000  # values, with the aliases of YAML unfolded
TOO_DEEP = f"nested deeper than {DEEPEST} levels"


class Unreadable(ValueError):
    """The text has no tree at all; the finding says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.finding = Finding(path="", message=message, hint=hint)
