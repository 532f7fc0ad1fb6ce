"""Events: what is different between two states, in words. Pure.

Derived from the difference, so that no rule can change anything without an entry in the timeline.
Settings are the root's, which has its own entry for them. Does not belong here: how events reach
the root (`outbox`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oakctl.model.instance import InstanceState
from oakctl.orchestration.cluster.liveness import Presences, status_of
from oakctl.orchestration.cluster.state import InstanceRecord, State


@dataclass(frozen=True)
class Change:
    """One event, before it has an id and a time."""

    kind: str
    subject: str
    message: str
    reason: str = ""


def between(before: State, after: State) -> tuple[Change, ...]:
    """What happened to workers and instances."""
    if before is after:
        return ()
    return (*_workers(before, after), *_instances(before, after))


def of_presences(state: State, before: Presences, after: Presences) -> tuple[Change, ...]:
    """Workers that became ready, suspect or dead."""
    found = []
    for name in sorted(after):
        old, new = status_of(state, before, name), status_of(state, after, name)
        if old != new and name in state.workers:
            found.append(Change(f"worker.{new}", name, f"worker {name} is {new}", f"was {old}"))
    return tuple(found)


def _workers(before: State, after: State) -> Iterable[Change]:
    for name in sorted(after.workers.keys() - before.workers.keys()):
        subnet = after.workers[name].subnet
        yield Change("worker.enrolled", name, f"worker {name} is enrolled, subnet {subnet}")
    for name in sorted(before.workers.keys() - after.workers.keys()):
        yield Change("worker.removed", name, f"worker {name} is removed")
    for name in sorted(before.workers.keys() & after.workers.keys()):
        old, new = before.workers[name], after.workers[name]
        if old.cordoned != new.cordoned:
            kind = "cordoned" if new.cordoned else "uncordoned"
            yield Change(f"worker.{kind}", name, f"worker {name} is {kind}")
        if old.agent_id != new.agent_id:
            version = new.facts.agent_version if new.facts else ""
            yield Change("worker.greeted", name, f"agent {version or 'of unknown version'} started")


def _instances(before: State, after: State) -> Iterable[Change]:
    if before.instances is after.instances:
        return
    for key, new in after.instances.items():
        old = before.instances.get(key)
        if old is not new:
            yield from _instance(old, new)
    for key, old in before.instances.items():
        if key not in after.instances:
            where = f" from {old.worker}" if old.worker else ""
            yield Change("instance.undeployed", old.name, f"gone{where}", old.reason)


def _instance(old: InstanceRecord | None, new: InstanceRecord) -> Iterable[Change]:
    moved = old is not None and old.worker and old.epoch != new.epoch
    if old is not None and moved and old.state != InstanceState.LOST:
        yield Change("instance.lost", new.name, f"given up on {old.worker}", new.reason)
    if old is None or moved or (old.state, old.worker) != (new.state, new.worker):
        where = f" on {new.worker}" if new.worker else ""
        kind = f"instance.{new.state.value.lower()}"
        yield Change(kind, new.name, f"{new.state.value}{where}", new.reason)
    was, now = _flags(old if not moved else None), _flags(new)
    for flag, is_set in now.items():
        if is_set and not was[flag]:
            yield Change(f"instance.{flag}", new.name, f"{flag} on {new.worker}", new.reason)


def _flags(record: InstanceRecord | None) -> Mapping[str, bool]:
    seen = record.shown() if record is not None else None
    return {
        "ready": seen is not None and seen.ready,
        "crash-looping": seen is not None and seen.crash_looping,
    }
