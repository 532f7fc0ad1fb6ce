"""How a call to Docker fails.

Belongs here: the two kinds. Does not belong here: what they mean to people (`words`).
"""

from __future__ import annotations


class EngineAway(Exception):
    """Docker does not answer; the text says why, for people."""


class EngineRefused(Exception):
    """Docker answered with an error; the text is its own."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status

    @property
    def missing(self) -> bool:
        """What was asked for is not there."""
        return self.status == 404
