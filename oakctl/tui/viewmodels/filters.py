"""What a filter lets through: `text`, `!text`, `key=value`, several with spaces between.

Belongs here: reading and matching. Does not belong here: which fields a line has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Filter:
    """All of its terms have to hold; without any it lets everything through."""

    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.text.strip())

    def lets(self, fields: Mapping[str, str]) -> bool:
        """Whether a thing with these fields is shown; letters of both cases are the same."""
        return all(_holds(term, fields) for term in self.text.lower().split())


NO_FILTER = Filter()


def _holds(term: str, fields: Mapping[str, str]) -> bool:
    if term.startswith("!"):
        return len(term) == 1 or not _holds(term[1:], fields)
    key, equals, value = term.partition("=")
    if equals and key in fields:
        return value in fields[key].lower()
    return any(term in field.lower() for field in fields.values())
