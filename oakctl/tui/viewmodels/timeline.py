"""The timeline as rows, and what each of its lines is about.

Belongs here: columns, what a filter sees, and where a line leads. Does not belong here: fetching.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oakctl.model.events import Event
from oakctl.tui.viewmodels import words
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Cell, cell, event_tone

COLUMNS = ("Time", "What", "Subject", "Cluster", "Message")


@dataclass
class EventRow:
    """A row whose cells are made when it is drawn."""

    event: Event
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = str(self.event.id)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells."""
        event = self.event
        why = f" ({event.reason})" if event.reason else ""
        return (
            cell(words.clock(event.at)),
            cell(event.kind, event_tone(event)),
            cell(words.short_instance(event.subject)),
            cell(event.cluster or "-"),
            cell(f"{event.message}{why}"),
        )


def rows(events: Iterable[Event], shown: Filter = NO_FILTER) -> tuple[EventRow, ...]:
    """Those that the filter lets through, oldest first."""
    return tuple(EventRow(event) for event in events if not shown or shown.lets(fields(event)))


def fields(event: Event) -> dict[str, str]:
    """What a filter sees of it."""
    return {
        "kind": event.kind,
        "subject": event.subject,
        "cluster": event.cluster,
        "message": event.message,
        "reason": event.reason,
    }
