"""Workers as rows, and one of them in full: facts, usage, what it contributes.

Belongs here: what of a worker is shown. Does not belong here: a widget.
"""

from __future__ import annotations

from collections.abc import Iterator

from oakctl.model.views import WorkerView
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.ages import age_cell
from oakctl.tui.viewmodels.bars import bar
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Row, cell, status_cell
from oakctl.tui.viewmodels.snapshot import Snapshot

COLUMNS = ("Worker", "Status", "Seen", "Runs", "In use", "Reserved", "Kind", "Host")


def rows(snapshot: Snapshot, now: float, shown: Filter = NO_FILTER) -> tuple[Row, ...]:
    """One row for each worker, by cluster and name."""
    return tuple(
        _row(view, now)
        for view in sorted(snapshot.workers, key=lambda view: (view.cluster, view.name))
        if shown.lets(_fields(view))
    )


def _fields(view: WorkerView) -> dict[str, str]:
    facts = view.summary.facts if view.summary is not None else None
    fields = {
        "name": f"{view.cluster}/{view.name}",
        "cluster": view.cluster,
        "state": status.of_worker(view).word,
        "host": view.host,
    }
    if facts is not None:
        labels = ",".join(f"{key}:{value}" for key, value in sorted(facts.labels.items()))
        fields |= {"arch": facts.architecture, "system": facts.system, "label": labels}
    return fields


def _row(view: WorkerView, now: float) -> Row:
    summary = view.summary
    reserved, used, kind, seen = "-", "-", "-", cell("never")
    if summary is not None:
        usage = summary.usage
        seen = age_cell(summary.last_heartbeat, now)
        used = (
            f"cpu {bar(usage.cpu_percent, 100)} {usage.cpu_percent:.0f}%  "
            f"mem {bar(usage.memory_percent, 100)} {usage.memory_percent:.0f}%"
        )
        if summary.facts is not None:
            facts = summary.facts
            reserved = words.used_of(summary.reserved, facts.capacity, facts.declared)
            kind = " ".join((facts.architecture, *facts.runtimes))
    return Row(
        f"worker:{view.cluster}/{view.name}",
        (
            cell(f"{view.cluster}/{view.name}"),
            status_cell(status.of_worker(view)),
            seen,
            cell(str(view.instances)),
            cell(used),
            cell(reserved),
            cell(kind),
            cell(words.host(view.host)),
        ),
    )


def details(view: WorkerView, now: float) -> Iterator[str]:
    """One worker in full, line by line."""
    yield f"{view.cluster}/{view.name} on host {words.host(view.host)}: {status.of_worker(view)}"
    summary = view.summary
    if summary is None:
        yield "its cluster has not said anything of it yet"
        return
    facts, usage = summary.facts, summary.usage
    heartbeat = words.age(summary.last_heartbeat, now)
    yield f"heartbeat  {heartbeat} ago   subnet {summary.subnet or '-'}"
    if facts is not None:
        limits = "enforced" if facts.limits_enforced else f"not enforced: {facts.limits_reason}"
        yield f"machine    {facts.system}, {facts.architecture}, Python {facts.python}"
        yield f"gives      {words.amounts(facts.capacity)}" + (
            f"   declared only: {', '.join(facts.declared)}" if facts.declared else ""
        )
        yield f"runs       {', '.join(facts.runtimes)}   limits {limits}"
        yield f"overlay    {facts.overlay_driver} {facts.overlay_reason}".rstrip()
    yield f"reserved   {words.amounts(summary.reserved)}"
    yield (
        f"in use     cpu {usage.cpu_percent:.0f}%, memory {usage.memory_percent:.0f}% "
        f"({words.memory(usage.memory_used_mb)}), disk {words.memory(usage.disk_free_mb)} free"
    )
    yield f"agent      {words.memory(usage.agent_rss_mb)}, cpu {usage.agent_cpu_percent:.1f}%"
