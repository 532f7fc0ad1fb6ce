"""Instances as rows, and one of them in full, with the story of its states.

Belongs here: what of an instance is shown. Does not belong here: its log, a widget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from oakctl.model.events import Event
from oakctl.model.views import InstanceView
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.ages import age_cell
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Cell, Row, cell, event_tone, instance_detail, status_cell
from oakctl.tui.viewmodels.snapshot import Snapshot

COLUMNS = ("Instance", "Status", "Since", "Where", "Heard", "Notes")
STORY_COLUMNS = ("When", "Ago", "What", "Cause")


@dataclass
class InstanceRow:
    """A row whose cells are made when it is drawn: of thousands only a few are."""

    view: InstanceView
    heard: float
    now: float
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = f"instance:{self.view.name}"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells."""
        view = self.view
        place = f"{view.cluster}/{view.worker or '?'}" if view.cluster else "-"
        return (
            cell(words.short_instance(view.name)),
            status_cell(status.of_instance(view)),
            cell(words.age(view.since, self.now)),
            cell(place),
            age_cell(self.heard, self.now) if view.cluster else cell("-"),
            cell(instance_detail(view)),
        )


def rows(snapshot: Snapshot, now: float, shown: Filter = NO_FILTER) -> tuple[InstanceRow, ...]:
    """One row for each instance, by service and number."""
    heard = {cluster.name: cluster.last_seen for cluster in snapshot.clusters}
    found = [view for view in snapshot.instances if not shown or shown.lets(fields(view))]
    found.sort(key=lambda view: (view.job_name, view.number))
    return tuple(InstanceRow(view, heard.get(view.cluster, 0.0), now) for view in found)


def fields(view: InstanceView) -> dict[str, str]:
    """What a filter sees of it."""
    return {
        "name": view.name,
        "service": view.job_name,
        "state": status.of_instance(view).word,
        "cluster": view.cluster,
        "worker": f"{view.cluster}/{view.worker}",
        "reason": view.reason,
    }


def details(view: InstanceView, heard: float, now: float) -> Iterator[str]:
    """One instance in full, line by line; `heard`: when its cluster last said something."""
    place = f"{view.cluster}/{view.worker or '?'}" if view.cluster else "no place yet"
    told = f"told {words.age(heard, now)} ago" if heard else ""
    state = status.of_instance(view)
    yield f"{view.name}: {state} for {words.age(view.since, now)}   {place}   {told}".rstrip()
    if view.reason:
        yield f"because    {view.reason}"
    listens = f"   listens on {view.bind}" if view.bind else ""
    yield f"address    {view.address or '-'}{listens}   epoch {view.epoch}"
    code = "" if view.exit_code is None else f"   exit code {view.exit_code}"
    restarts = words.count(view.restarts, "restart")
    yield f"process    pid {view.pid or '-'}   {restarts}{code}"
    yield f"uses       cpu {view.cpu_percent:.0f}%, {words.memory(view.memory_mb)}" + (
        f"   limits {view.limits}" if view.limits else ""
    )
    if view.metrics:
        each = "   ".join(
            f"{name} {words.number(value)}" for name, value in sorted(view.metrics.items())
        )
        yield f"metrics    {each}   ({words.age(view.metrics_at, now)} ago)"


def story(events: Iterable[Event], now: float, clock: str) -> tuple[Row, ...]:
    """What happened to it, newest first; `clock` is the format of times."""
    newest = sorted(events, key=lambda event: event.id, reverse=True)
    return tuple(
        Row(
            str(event.id),
            (
                cell(words.clock(event.at, clock)),
                cell(words.age(event.at, now)),
                cell(event.kind.rpartition(".")[2], event_tone(event)),
                cell(f"{event.message} {f'({event.reason})' if event.reason else ''}".rstrip()),
            ),
        )
        for event in newest
    )
