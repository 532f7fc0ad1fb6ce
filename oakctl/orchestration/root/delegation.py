"""Who is asked to run what next: from what is wanted and what clusters say to what is to be sent.

Belongs here: the decision, pure. Does not belong here: sending (`root.driver`), ranking
(`scheduling.root`), storing (`root.store`).

A row of an instance goes through these phases, each stored before anything is sent:

    UNPLACED ──offer──▶ OFFERED ──accepted──▶ PLACED
        ▲                  │  └───────┐          │
        └─────refused──────┘     not wanted, or to move
        ▲                             ▼          ▼
        └────────gone──────────── WITHDRAWING ◀──┘

It leaves a cluster only when that cluster has refused it or has shown that it is gone; so no
instance is ever in two clusters. An offer whose answer was lost is sent again, with its epoch.
The one exception: an offer to a cluster that has been away for `LOST_OFFER_S` is given up, as
nobody ever heard that it runs there. Its successor has a higher epoch, and the raised share makes
the cluster stop its copy, if it has one, as soon as it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from oakctl.model.config import Timers
from oakctl.model.messages import Aggregate, Verdict
from oakctl.model.service import ServiceSpec

BACKOFF_S = 1.0
BACKOFF_MAX_S = 30.0
OFFER_TIMEOUT_S = 5.0
# What a cluster takes at most from an offer to an instance that runs or was placed anew.
LOST_OFFER_S = Timers().first_sign_s + Timers().progress_s

Key: TypeAlias = tuple[str, int]  # job name, instance number
Seat: TypeAlias = tuple[str, str]  # cluster, job name


class Phase(str, Enum):
    """How far an instance's placement is."""

    UNPLACED = "unplaced"
    OFFERED = "offered"
    PLACED = "placed"
    WITHDRAWING = "withdrawing"


@dataclass(frozen=True)
class Row:
    """One instance number of a service, as it is stored."""

    job_name: str
    number: int
    wanted: bool
    phase: Phase = Phase.UNPLACED
    epoch: int = 0  # of its newest placement; 0: never placed
    cluster: str = ""
    since: float = 0.0

    @property
    def key(self) -> Key:
        """Job name and number."""
        return self.job_name, self.number


@dataclass(frozen=True)
class ShareRow:
    """The revision of a cluster's share of a service. Not open: withdrawn and confirmed."""

    cluster: str
    job_name: str
    revision: int
    is_open: bool


@dataclass(frozen=True)
class Service:
    """What delegation needs to know of a service."""

    spec: ServiceSpec
    deleting: bool = False


@dataclass(frozen=True)
class Sight:
    """What the root knows of a cluster now. `reason` says why it is not reachable.

    `confirmed` are the share revisions of which `present` is known to be newer.
    """

    name: str
    reachable: bool
    reason: str = ""
    aggregate: Aggregate | None = None
    accepts_offers: bool = True
    present: frozenset[Key] = frozenset()  # instances there
    in_force: Mapping[str, int] = field(default_factory=dict)  # job name → share revision
    confirmed: Mapping[str, int] = field(default_factory=dict)
    last_seen: float = 0.0  # seconds since the epoch

    def is_settled(self, share: ShareRow) -> bool:
        """Whether `present` is what came of this revision of the share."""
        job = share.job_name
        in_force = self.in_force.get(job) == share.revision
        return in_force or self.confirmed.get(job, -1) >= share.revision


@dataclass(frozen=True)
class Attempt:
    """What is remembered of an instance without a place: its round of offers, and the back-off."""

    refused: Mapping[str, str] = field(default_factory=dict)  # in this round: cluster → why
    waiting: bool = False  # the round has ended without a place
    rounds: int = 0  # that have ended so
    retry_at: float = 0.0
    capacity: int = -1  # the number of the capacity news at which the last round ended


@dataclass(frozen=True)
class Picture:
    """Everything a decision looks at. `busy` are instances whose offer is under way."""

    rows: tuple[Row, ...]
    shares: tuple[ShareRow, ...]
    services: Mapping[str, Service]
    clusters: Mapping[str, Sight]
    attempts: Mapping[Key, Attempt] = field(default_factory=dict)
    busy: frozenset[Key] = frozenset()
    sending: frozenset[Seat] = frozenset()  # shares under way
    raised_at: Mapping[Seat, float] = field(default_factory=dict)  # for strays
    targets: Mapping[Key, tuple[str, str]] = field(default_factory=dict)
    """Cluster and worker of those that were given one to go to."""
    capacity: int = 0  # grows whenever a cluster's capacity changed


@dataclass(frozen=True)
class OfferTo:
    """Offer the instance to this cluster. `renew`: the answer of this very offer was lost."""

    key: Key
    cluster: str
    renew: bool = False
    verdicts: tuple[Verdict, ...] = ()
    worker: str = ""  # this one or none


@dataclass(frozen=True)
class Wait:
    """Nothing can be done for the instance until `until` (or capacity news), and why."""

    key: Key
    until: float
    reason: str
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class SendShare:
    """The cluster's share of the service is not in force there."""

    seat: Seat
    revision: int


@dataclass(frozen=True)
class RaiseShare:
    """The cluster has what it was not given (a late offer, a newer share): tell it again.

    The new revision has to be higher than `above`.
    """

    seat: Seat
    above: int = 0


@dataclass(frozen=True)
class GiveUp:
    """The cluster has been away too long since it was offered the instance: place it anew."""

    key: Key
    cluster: str


@dataclass(frozen=True)
class Gone:
    """The cluster has given the instance up: the row is free, or removed when not wanted."""

    key: Key


@dataclass(frozen=True)
class ForgetService:
    """Every cluster has shown that nothing of the service is left."""

    job_name: str


Effect: TypeAlias = OfferTo | Wait | SendShare | RaiseShare | GiveUp | Gone | ForgetService
Rank: TypeAlias = Callable[
    [ServiceSpec, Iterable[Sight], Mapping[str, int]], tuple[tuple[str, ...], tuple[Verdict, ...]]
]

STRAY_PATIENCE_S = 10.0


def backoff(rounds: int) -> float:
    """Seconds until the next round, after `rounds` that ended without a place."""
    return min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(max(rounds - 1, 0), 10))


def plan(picture: Picture, rank: Rank, now: float) -> tuple[Effect, ...]:
    """What is to be done at `now` (seconds since the epoch). The same picture, the same plan."""
    effects: list[Effect] = []
    for row in picture.rows:
        effect = _of_row(picture, row, rank, now)
        if effect is not None:
            effects.append(effect)
    effects.extend(_shares(picture))
    effects.extend(_strays(picture, now))
    effects.extend(_finished(picture))
    return tuple(effects)


def _of_row(picture: Picture, row: Row, rank: Rank, now: float) -> Effect | None:
    if row.key in picture.busy:
        return None
    if row.phase is Phase.UNPLACED:
        return _place(picture, row, rank, now) if row.wanted else Gone(row.key)
    if row.phase is Phase.OFFERED:
        return _offer_again(picture, row, now)
    if row.phase is Phase.WITHDRAWING:
        return Gone(row.key) if _is_gone(picture, row) else None
    return None


def _place(picture: Picture, row: Row, rank: Rank, now: float) -> Effect | None:
    attempt = picture.attempts.get(row.key, Attempt())
    news = attempt.capacity != picture.capacity
    if attempt.waiting and now < attempt.retry_at and not news:
        return None
    refused = {} if attempt.waiting else attempt.refused
    spec = picture.services[row.job_name].spec
    target, worker = picture.targets.get(row.key, ("", ""))
    candidates = [
        sight
        for sight in picture.clusters.values()
        if sight.accepts_offers and target in ("", sight.name)
    ]
    order, verdicts = rank(spec, candidates, spread(picture.rows, row.job_name))
    shown = tuple(_with_refusal(verdict, refused) for verdict in verdicts)
    for cluster in order:
        if cluster not in refused and picture.clusters[cluster].reachable:
            return OfferTo(row.key, cluster, verdicts=shown, worker=worker)
    return Wait(row.key, now + backoff(attempt.rounds + 1), _why(shown), shown)


def _offer_again(picture: Picture, row: Row, now: float) -> Effect | None:
    sight = picture.clusters.get(row.cluster)
    if sight is not None and sight.reachable:
        attempt = picture.attempts.get(row.key, Attempt())
        if now < attempt.retry_at:
            return None
        _, worker = picture.targets.get(row.key, ("", ""))
        return OfferTo(row.key, row.cluster, renew=True, worker=worker)
    if sight is None or now >= max(row.since, sight.last_seen) + LOST_OFFER_S:
        return GiveUp(row.key, row.cluster)
    return Wait(
        row.key,
        now,  # the moment it can be asked again
        f"cluster {row.cluster} was offered it and has not answered ({sight.reason})",
    )


def _is_gone(picture: Picture, row: Row) -> bool:
    sight = picture.clusters.get(row.cluster)
    if sight is None:
        return True
    share = next((s for s in picture.shares if (s.cluster, s.job_name) == _seat(row)), None)
    if share is None:
        return True
    return sight.reachable and sight.is_settled(share) and row.key not in sight.present


def _shares(picture: Picture) -> Iterable[Effect]:
    # A share sent while an offer is under way would withdraw what is just being accepted.
    offering = {_seat(row) for row in picture.rows if row.key in picture.busy}
    for share in picture.shares:
        seat = (share.cluster, share.job_name)
        sight = picture.clusters.get(share.cluster)
        if sight is None or not sight.reachable or not share.is_open:
            continue
        if seat in picture.sending or seat in offering:
            continue
        there = sight.in_force.get(share.job_name, 0)
        if there > share.revision:
            yield RaiseShare(seat, above=there)
        elif not sight.is_settled(share):
            yield SendShare(seat, share.revision)


def _strays(picture: Picture, now: float) -> Iterable[Effect]:
    """Instances in a cluster that no row gives to it."""
    given = {(row.cluster, *row.key) for row in picture.rows if row.phase is not Phase.UNPLACED}
    raised: set[Seat] = set()
    for sight in picture.clusters.values():
        for job_name, number in sorted(sight.present):
            seat = (sight.name, job_name)
            if not sight.reachable or (sight.name, job_name, number) in given:
                continue
            recently = now < picture.raised_at.get(seat, float("-inf")) + STRAY_PATIENCE_S
            if not recently and seat not in raised:
                raised.add(seat)
                yield RaiseShare(seat)


def _finished(picture: Picture) -> Iterable[Effect]:
    occupied = {row.job_name for row in picture.rows}
    for job_name, service in picture.services.items():
        if not service.deleting or job_name in occupied:
            continue
        pending = [s for s in picture.shares if s.job_name == job_name and s.is_open]
        if all(_is_withdrawn(picture, share) for share in pending):
            yield ForgetService(job_name)


def _is_withdrawn(picture: Picture, share: ShareRow) -> bool:
    sight = picture.clusters.get(share.cluster)
    if sight is None:
        return True
    return sight.is_settled(share) and all(job != share.job_name for job, _ in sight.present)


def spread(rows: Iterable[Row], job_name: str) -> Mapping[str, int]:
    """How many instances of the service each cluster has already, or was offered."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.job_name == job_name and row.cluster:
            counts[row.cluster] = counts.get(row.cluster, 0) + 1
    return counts


def _seat(row: Row) -> Seat:
    return row.cluster, row.job_name


def _with_refusal(verdict: Verdict, refused: Mapping[str, str]) -> Verdict:
    reason = refused.get(verdict.candidate)
    if reason is None:
        return verdict
    return Verdict(verdict.candidate, False, verdict.score, (reason,))


def _why(verdicts: tuple[Verdict, ...]) -> str:
    if not verdicts:
        return "there is no cluster"
    parts = (f"{v.candidate}: {'; '.join(v.reasons) or 'does not fit'}" for v in verdicts)
    return " · ".join(parts)
