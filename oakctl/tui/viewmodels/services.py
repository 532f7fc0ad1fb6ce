"""Services as rows: what is wanted, what there is, where it is, and who said so when.

Belongs here: the columns of that view. Does not belong here: a widget.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from oakctl.model.views import InstanceView, ServiceView
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.ages import age_cell
from oakctl.tui.viewmodels.filters import NO_FILTER, Filter
from oakctl.tui.viewmodels.rows import Row, cell, status_cell
from oakctl.tui.viewmodels.snapshot import Snapshot

COLUMNS = ("Service", "Status", "Ready", "Where", "Heard", "CPU", "Memory", "Address", "Reason")


def rows(snapshot: Snapshot, now: float, shown: Filter = NO_FILTER) -> tuple[Row, ...]:
    """One row for each service, by application and name."""
    below: dict[str, list[InstanceView]] = defaultdict(list)
    for instance in snapshot.instances:
        below[instance.job_name].append(instance)
    heard = {cluster.name: cluster.last_seen for cluster in snapshot.clusters}
    return tuple(
        _row(view, below[view.job_name], heard, now)
        for view in sorted(snapshot.services, key=lambda view: view.job_name)
        if shown.lets(_fields(view))
    )


def _fields(view: ServiceView) -> dict[str, str]:
    return {
        "name": view.job_name,
        "app": view.application,
        "state": view.state,
        "reason": view.reason,
    }


def _row(
    view: ServiceView, instances: list[InstanceView], heard: dict[str, float], now: float
) -> Row:
    # What is told of a service is as old as the word of that cluster which was silent longest.
    clusters = {each.cluster for each in instances if each.cluster}
    oldest = min((heard.get(name, 0.0) for name in clusters), default=None)
    places = Counter(f"{each.cluster}/{each.worker}" for each in instances if each.worker)
    return Row(
        view.job_name,
        (
            cell(view.name),
            status_cell(status.of_service(view)),
            cell(words.readiness(view)),
            cell(placement(places)),
            cell("-") if oldest is None else age_cell(oldest, now),
            cell(f"{sum(each.cpu_percent for each in instances):.0f}%"),
            cell(words.memory(sum(each.memory_mb for each in instances))),
            cell(view.rr_ip or "-"),
            cell(view.reason),
        ),
    )


def placement(places: Counter[str]) -> str:
    """ "edge/w1 ×2, edge/w2"; the first three."""
    named = [f"{name} ×{many}" if many > 1 else name for name, many in sorted(places.items())]
    rest = len(named) - 3
    return ", ".join(named[:3]) + (f" +{rest}" if rest > 0 else "") or "-"
