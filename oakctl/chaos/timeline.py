"""What came of faults, from the events and requests around them. Pure.

Belongs here: detected, re-routed, replaced, failed, for each fault, and whether that is as
expected. Does not belong here: making faults or requests (`playing`, `probing`). Times are seconds
since the epoch. An event has the time of whoever saw it, so clusters' clocks have to be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oakctl.chaos.faults import Kind
from oakctl.model.events import Event

LOST = frozenset({"instance.failed", "instance.lost"})
NOTICED = frozenset({"worker.suspect", "worker.dead", "cluster.unreachable"})
CLOCKS_S = 0.25  # an event may seem to be so much before what it tells of


@dataclass(frozen=True)
class Request:
    """One request of the probe: when it was begun, and how long it took."""

    at: float
    took_s: float
    ok: bool
    why: str = ""  # it failed

    @property
    def ended(self) -> float:
        """When it was answered, or given up."""
        return self.at + self.took_s


@dataclass(frozen=True)
class Struck:
    """A fault that was made. `subjects` are what the timeline calls what it hit."""

    title: str
    kind: str
    at: float
    until: float  # 0: it was over at once
    subjects: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()  # names of workers are one cluster's own
    error: str = ""  # it was not made: why


@dataclass(frozen=True)
class Outcome:
    """What came of one fault; seconds after it. None: it did not come to that, or nobody asked."""

    fault: str
    kind: str
    at: float
    until: float
    detected_s: float | None = None
    detected_by: str = ""  # the event: "worker.suspect w1"
    rerouted_s: float | None = None  # the answer to the first request that got one again
    replaced_s: float | None = None  # the last of its instances is ready again
    hit: tuple[str, ...] = ()  # instances that were lost by it
    replaced: int = 0  # how many of them are ready again
    requests: int = 0
    failed: int | None = None
    error: str = ""
    broken: tuple[str, ...] = ()  # expectations that were not met, in words


def outcome(
    struck: Struck,
    events: Sequence[Event],
    requests: Sequence[Request] | None,
    until: float = math.inf,
) -> Outcome:
    """What came of a fault until the next one at `until`; `requests` None: there is no probe.

    Instances that it took may be ready again later than that: they count all the same.
    """
    if struck.error:
        return Outcome(struck.title, struck.kind, struck.at, struck.until, error=struck.error)
    began = struck.at - CLOCKS_S
    about = (one for one in events if began <= one.at and _is_about(one, struck))
    mine = sorted(about, key=lambda one: (one.at, one.id))
    signs = [one for one in mine if one.at < until and _is_sign(one, struck)]
    hit = tuple(dict.fromkeys(e.subject for e in mine if e.at < until and e.kind in LOST))
    ready = {name: _ready_again(mine, name, until) for name in hit}
    back = [at for at in ready.values() if at is not None]
    asked = None if requests is None else list(_during(struck, requests, until))
    return Outcome(
        struck.title,
        struck.kind,
        struck.at,
        struck.until,
        detected_s=_after(struck, signs[0].at) if signs else None,
        detected_by=f"{signs[0].kind} {signs[0].subject}" if signs else "",
        rerouted_s=_rerouted(struck, asked) if asked is not None else None,
        replaced_s=_after(struck, max(back)) if back and len(back) == len(hit) else None,
        hit=hit,
        replaced=len(back),
        requests=len(asked or ()),
        failed=None if asked is None else sum(not one.ok for one in asked),
    )


def _is_about(event: Event, struck: Struck) -> bool:
    if event.subject not in struck.subjects:
        return False
    return event.kind.startswith("instance.") or event.cluster in ("", *struck.clusters)


def _is_sign(event: Event, struck: Struck) -> bool:
    if struck.kind == Kind.KILL_INSTANCE.value:
        return event.kind in LOST
    return event.kind in LOST | NOTICED


def _ready_again(events: Sequence[Event], instance: str, until: float) -> float | None:
    """When an instance was first ready after its last loss before `until`; events in order."""
    found: float | None = None
    for event in (one for one in events if one.subject == instance):
        if event.kind in LOST and event.at < until:
            found = None
        elif event.kind == "instance.ready" and found is None:
            found = event.at
    return found


def _during(struck: Struck, requests: Sequence[Request], until: float) -> Iterator[Request]:
    """Those that were under way when it happened too: they are its victims."""
    return (one for one in requests if one.ended >= struck.at and one.at < until)


def _rerouted(struck: Struck, requests: Sequence[Request]) -> float | None:
    """The first request that was begun after it and answered: by whoever else, if one failed
    before, as what was hit does not answer then."""
    failed = [one.at for one in requests if not one.ok]
    begin = max(struck.at, min(failed, default=struck.at))
    answers = sorted(one.ended for one in requests if one.ok and one.at >= begin)
    return _after(struck, answers[0]) if answers else None


def _after(struck: Struck, at: float) -> float:
    return round(max(0.0, at - struck.at), 3)


def broken(
    found: Outcome,
    *,
    detected: float | None = None,
    rerouted: float | None = None,
    replaced: float | None = None,
    failed: int | None = None,
) -> tuple[str, ...]:
    """The expectations (seconds, and a number of requests) that an outcome does not meet."""
    said = []
    for word, wanted, got in (
        ("detected", detected, found.detected_s),
        ("re-routed", rerouted, found.rerouted_s),
        ("replaced", replaced, found.replaced_s),
    ):
        if wanted is not None and got is None and word == "replaced" and not found.hit:
            said.append("no instance was lost by it, so none was replaced")
        elif wanted is not None and got is None:
            said.append(f"not {word}; {wanted:g} s were expected")
        elif wanted is not None and got is not None and got > wanted:
            said.append(f"{word} after {got:g} s; {wanted:g} s were expected")
    if failed is not None and (found.failed or 0) > failed:
        said.append(f"{found.failed} requests failed; at most {failed} were expected")
    return tuple(said)
