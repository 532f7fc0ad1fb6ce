"""What to do next: desired document, records and what is on the node in, actions out. Pure.

Belongs here: every decision of the agent about instances. Does not belong here: carrying it
out (`instances`). The same input gives the same actions, and once they are carried out there
are none left: a pass may be repeated at any time, by an agent that has just started too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from oakctl.model.documents import DesiredDocument
from oakctl.model.instance import DesiredInstance
from oakctl.orchestration.worker import needs
from oakctl.orchestration.worker.needs import Need
from oakctl.orchestration.worker.record import Phase, Record


@dataclass(frozen=True)
class Prepare:
    """Begin with an instance: nothing of it is here, or only an ended earlier incarnation."""

    desired: DesiredInstance


@dataclass(frozen=True)
class Fetch:
    """Get an artifact or an image, or go on getting it."""

    need: Need


@dataclass(frozen=True)
class Start:
    """Start a process; `desired` is the document's newest word of it."""

    desired: DesiredInstance


@dataclass(frozen=True)
class Stop:
    """Ask an instance to end."""

    name: str


@dataclass(frozen=True)
class Kill:
    """End every process of an instance: its grace period is over."""

    name: str


@dataclass(frozen=True)
class Forget:
    """Remove all that is left of an instance."""

    name: str


Action = Prepare | Fetch | Start | Stop | Kill | Forget


def decide(
    document: DesiredDocument | None,
    records: Mapping[str, Record],
    present: Set[Need],
    confirmed: Set[tuple[str, int]],
    now: float,
) -> tuple[Action, ...]:
    """The actions that bring this node nearer to `document`.

    `present` are the artifacts and images that are here; `confirmed` the (name, epoch) whose
    end the cluster has acknowledged. Without a document nothing is known to be unwanted, so
    nothing is stopped and nothing started.
    """
    if document is None:
        return ()
    wanted = newest(document.instances)
    actions: list[Action] = []
    for name in sorted(wanted.keys() | records.keys()):
        record, desired = records.get(name), wanted.get(name)
        if desired is None:
            if record is not None:
                actions += _unwanted(record, confirmed, now)
        elif record is None:
            actions.append(Prepare(desired))
        else:
            actions += _wanted(desired, record, present, now)
    return tuple(actions)


def newest(instances: Iterable[DesiredInstance]) -> dict[str, DesiredInstance]:
    """By name; of one instance named twice the highest epoch."""
    found: dict[str, DesiredInstance] = {}
    for desired in instances:
        if desired.name not in found or desired.epoch > found[desired.name].epoch:
            found[desired.name] = desired
    return found


def _unwanted(record: Record, confirmed: Set[tuple[str, int]], now: float) -> list[Action]:
    if record.gone:
        return [Forget(record.name)] if (record.name, record.epoch) in confirmed else []
    return _end(record, now)


def _end(record: Record, now: float) -> list[Action]:
    if not record.stopping_since:
        return [Stop(record.name)]
    due = _is_due(record.kill_at, record.stopping_since, now)
    return [Kill(record.name)] if due else []


def _wanted(
    desired: DesiredInstance, record: Record, present: Set[Need], now: float
) -> list[Action]:
    if desired.epoch < record.epoch:
        return []  # late news of an earlier incarnation
    if desired.epoch > record.epoch or record.stopping_since:
        return [Prepare(desired)] if record.gone else _end(record, now)
    if record.phase is not Phase.WAITING:
        return []
    missing = [need for need in needs.of(desired) if need not in present]
    due = _is_due(record.retry_at, record.since, now)
    if missing:
        # Secrets may change until the very start.
        return [Fetch(need) for need in missing if due or need.kind != needs.SECRETS]
    return [Start(desired)] if due else []


def _is_due(moment: float, since: float, now: float) -> bool:
    """Whether what was to be waited for `since` then is over. A clock that was set back meanwhile
    says nothing of how long that was: then it is, rather than never."""
    return now >= moment or now < since


def next_due(records: Iterable[Record], now: float) -> float | None:
    """The next time at which `decide` may say something new by itself; None: never."""
    times = [
        record.kill_at if record.stopping_since else record.retry_at
        for record in records
        if (record.phase is Phase.RUNNING and record.stopping_since)
        or record.phase is Phase.WAITING
    ]
    return min((time for time in times if time > now), default=None)
