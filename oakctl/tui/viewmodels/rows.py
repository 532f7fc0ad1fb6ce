"""Rows of keyed tables: cells with a meaning each, no widget.

Belongs here: what a row is, and the flat tables (services, instances, steps). Does not belong
here: the topology, which is a tree (`topology`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from oakctl.model.events import Event
from oakctl.model.views import InstanceView, ServiceView, StepEvent
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.status import Status, Tone
from oakctl.tui.viewmodels.words import clean

LONGEST_CELL = 200


@dataclass(frozen=True)
class Cell:
    """A text that is safe to draw, and what it means (None: nothing particular)."""

    text: str
    tone: Tone | None = None


@dataclass(frozen=True)
class Row:
    """One row; `key` says which thing it is about from one drawing to the next."""

    key: str
    cells: tuple[Cell, ...]


def cell(text: str, tone: Tone | None = None) -> Cell:
    """A cell of text from anywhere."""
    return Cell(clean(text, LONGEST_CELL), tone)


def status_cell(shown: Status) -> Cell:
    """Glyph and word in the tone of the status."""
    return cell(str(shown), shown.tone)


SERVICE_COLUMNS = ("Service", "Status", "Ready", "Asks for", "Address", "Reason")


def services(views: Iterable[ServiceView]) -> tuple[Row, ...]:
    """One row for each service, by name."""
    return tuple(
        Row(
            view.job_name,
            (
                cell(view.name),
                status_cell(status.of_service(view)),
                cell(words.readiness(view)),
                cell(words.amounts(view.requests)),
                cell(view.rr_ip or "-"),
                cell(view.reason),
            ),
        )
        for view in sorted(views, key=lambda view: view.job_name)
    )


STEP_COLUMNS = ("Host", "Step", "State", "Took", "Message")


def steps(events: Iterable[StepEvent]) -> tuple[Row, ...]:
    """One row for each step, in the order in which they began, with its latest state."""
    latest: dict[str, StepEvent] = {}
    for event in events:
        latest[f"{event.host}/{event.step}"] = event
    return tuple(
        Row(
            key,
            (
                cell(event.host),
                cell(event.step),
                status_cell(status.of_step(event)),
                cell(words.duration(event.seconds) if event.seconds else ""),
                cell(event.message),
            ),
        )
        for key, event in latest.items()
    )


def instance_detail(view: InstanceView) -> str:
    """What matters of one instance besides its state: reason, or its consumption."""
    if view.reason:
        return clean(view.reason, LONGEST_CELL)
    parts = []
    if view.pid:
        parts.append(f"cpu {view.cpu_percent:.0f}%  mem {words.memory(view.memory_mb)}")
    if view.restarts:
        parts.append(words.count(view.restarts, "restart"))
    return "  ".join(parts)


def event_line(event: Event, clock: str, *, short: bool = False) -> str:
    """One line of the timeline; `clock` is its time as the reader's clock shows it.

    `short` names instances as the screens do.
    """
    subject = words.short_instance(event.subject) if short else event.subject
    where = f" [{event.cluster}]" if event.cluster else ""
    why = f" ({event.reason})" if event.reason else ""
    return clean(f"{clock} {event.kind:<20} {subject}{where}: {event.message}{why}")


def event_tone(event: Event) -> Tone | None:
    """Which events stand out in the timeline."""
    last = event.kind.rpartition(".")[2]
    if last in ("failed", "dead", "lost", "unreachable", "refused"):
        return Tone.BAD
    if last in ("suspect", "pending", "crash_looping"):
        return Tone.WARNING
    if last in ("running", "ready", "done"):
        return Tone.GOOD
    return None
