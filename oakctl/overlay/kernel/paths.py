"""One pair of nodes, as one of both sees it: relayed, being tried directly, or direct. Pure.

A tunnel takes packets of a node from one peer alone, so both sides have to change at one moment,
and neither may while the other does not. So they agree, in words that travel in the echoes with
which they measure each other (`words`), by two ways that both are always there:

- the *relayed* way, between addresses of theirs that the relay keeps in any case;
- the *direct* way, between addresses of theirs that belong to the direct peer from the moment on
  that it is tried. Nothing else goes there before echoes of both sizes have come back on it.

One of both *leads*: it begins a trial, once a node wants it; tells the other of each kind of
endpoint; and says *direct* when it has proof. The other follows at once and says so, and then the
leader changes too. Back to the relay goes each side by itself, by three missed echoes or the
other's word. No cluster orchestrator is needed for any of this, and none of two clusters.

Belongs here: what follows from words, answers and time. Does not belong here: which endpoints there
are (`endpoints`), what the tunnel is told (`ways`), sending (`pathfinder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from oakctl.overlay.kernel import liveness
from oakctl.overlay.kernel.liveness import MISSES, Pulse


class Phase(Enum):
    """What a side says of its own tunnel."""

    RELAYED = 0
    TRYING = 1
    DIRECT = 2


@dataclass(frozen=True)
class Timing:
    """Seconds."""

    step: float = 3.0  # one kind of endpoint: a tunnel that gets no answer asks again after 5 s
    confirm: float = 1.0  # until the other has to have changed too
    first_retry: float = 10.0  # after a trial that failed; twice as long after each more
    longest_retry: float = 600.0
    lasting: float = 120.0  # a direct path that held so long was no failure
    silence: float = 20.0  # a word is forgotten after that
    follow: float = 3.0  # the other side, when a direct path was lost: it has missed it as well


TIMING = Timing()
SMALL_PROOFS, LARGE_PROOFS = 2, 1  # answers


@dataclass(frozen=True)
class Word:
    """What one side tells the other of the pair. `attempt` numbers trials, and only grows."""

    phase: Phase = Phase.RELAYED
    attempt: int = 0
    kind: str = ""  # of endpoint, while it is tried
    proven: bool = False  # by the leader, while it is tried: the other shall change now
    wants: bool = False  # there is traffic between both that it cares for


@dataclass(frozen=True)
class Pair:
    """All of it. Moments are of a clock that only grows, in seconds; 0: never."""

    leads: bool
    phase: Phase = Phase.RELAYED
    attempt: int = 0
    since: float = 0.0  # of the phase, or of the step while it is tried
    kinds: tuple[str, ...] = ()  # that are left to try; the first one is being tried
    tried: tuple[str, ...] = ()  # of the trial that failed last
    both: bool = False  # the other tries the same: it may be sent to
    confirmed: bool = False  # the other is direct too
    wants: bool = False
    failures: int = 0  # in a row
    not_before: float = 0.0
    known: tuple[str, ...] = ()  # endpoints of both when it was tried last
    heard: Word = field(default_factory=Word)
    heard_at: float = 0.0
    direct: Pulse = Pulse()
    relayed: Pulse = Pulse()
    proofs: tuple[int, int] = (0, 0)  # answers on the direct way: small ones, large ones
    lost_at: float = 0.0  # when the last direct path was given up

    @property
    def kind(self) -> str:
        """Of the endpoint that is being tried."""
        return self.kinds[0] if self.phase is Phase.TRYING and self.kinds else ""

    def word(self) -> Word:
        """What it says of itself."""
        proven = self.leads and self.phase is Phase.TRYING and _is_proven(self)
        return Word(self.phase, self.attempt, self.kind, proven, self.wants)


def adopted(leads: bool, now: float) -> Pair:
    """A pair whose tunnel was found to be direct: an earlier agent has left it so."""
    return Pair(leads, Phase.DIRECT, since=now, both=True, confirmed=True)


def cares(pair: Pair, now: float, timing: Timing = TIMING) -> bool:
    """Whether anybody has to do with the pair at all."""
    return pair.wants or pair.phase is not Phase.RELAYED or _is_wanted(pair, now, timing)


def is_one_sided(pair: Pair, now: float, timing: Timing = TIMING) -> bool:
    """Whether the other side still sends directly where nothing gets through: its agent is away.

    It takes packets of ours by that way alone, so nothing gets there by the relay either.
    """
    follows = pair.heard.phase is not Phase.DIRECT or pair.heard_at > pair.lost_at
    lost = pair.phase is Phase.RELAYED and pair.lost_at > 0 and not follows
    return lost and now - pair.lost_at > timing.follow


def echoes_directly(pair: Pair) -> bool:
    """Whether the direct way is echoed on: before anything can be sent to the other, a tunnel that
    is asked to would try, in vain, and then not again for seconds."""
    return pair.phase is Phase.DIRECT or (pair.phase is Phase.TRYING and pair.both)


def ticked(
    pair: Pair, now: float, kinds: Sequence[str], known: Sequence[str], timing: Timing = TIMING
) -> Pair:
    """What time brings about; to be called before echoes are sent again.

    `kinds` are those of the endpoints that there are to try, in order, and `known` these endpoints
    of both sides: with new ones it is tried anew.
    """
    if pair.phase is Phase.DIRECT:
        return _kept(pair, now, timing)
    if not pair.leads:
        # It follows; a leader that says nothing of this step any more has given it up.
        late = now - pair.since > 2 * timing.step
        return _relayed(pair, now) if pair.phase is Phase.TRYING and late else pair
    if pair.phase is Phase.TRYING:
        return _tried(pair, now, timing)
    if known and tuple(known) != pair.known:
        soon = min(pair.not_before, pair.since + timing.first_retry)
        pair = replace(pair, failures=0, not_before=soon, known=tuple(known))
    answers = pair.relayed.answers > 0 and pair.relayed.waiting <= MISSES
    if kinds and answers and now >= pair.not_before and _is_wanted(pair, now, timing):
        return _step(pair, now, tuple(kinds), max(pair.attempt, pair.heard.attempt) + 1)
    return pair


def heard(pair: Pair, word: Word, now: float, timing: Timing = TIMING) -> Pair:
    """What follows from the other's word; late ones, of an earlier trial, change nothing."""
    if word.attempt < pair.heard.attempt or word.attempt < pair.attempt:
        # It may have begun to count anew: then it has to hear of us first, and will say more.
        return replace(pair, heard=replace(pair.heard, wants=word.wants), heard_at=now)
    pair = replace(pair, heard=word, heard_at=now)
    if pair.phase is Phase.DIRECT:
        return _heard_while_direct(pair, word, now, timing)
    return _led(pair, word, now) if pair.leads else _followed(pair, word, now)


def sent(pair: Pair, large: bool, *, direct: bool) -> Pair:
    """An echo is on its way."""
    if direct:
        return replace(pair, direct=liveness.sent(pair.direct, large))
    return replace(pair, relayed=liveness.sent(pair.relayed, large))


def answered(pair: Pair, large: bool, round_trip_ms: float, *, direct: bool) -> Pair:
    """An echo came back."""
    if not direct:
        return replace(pair, relayed=liveness.answered(pair.relayed, large, round_trip_ms))
    small, big = pair.proofs
    proofs = (small, big + 1) if large else (small + 1, big)
    pulse = liveness.answered(pair.direct, large, round_trip_ms)
    return replace(pair, direct=pulse, proofs=proofs)


def _is_wanted(pair: Pair, now: float, timing: Timing) -> bool:
    heard_lately = pair.heard_at > 0 and now - pair.heard_at <= timing.silence
    return pair.wants or (pair.heard.wants and heard_lately)


def _is_proven(pair: Pair) -> bool:
    return pair.proofs[0] >= SMALL_PROOFS and pair.proofs[1] >= LARGE_PROOFS


def _kept(pair: Pair, now: float, timing: Timing) -> Pair:
    """A direct path stays while it answers and the other has changed too."""
    unheard = not pair.confirmed and now - pair.since > timing.confirm
    missed = pair.direct.waiting >= MISSES or pair.direct.waiting_large >= MISSES
    return _fallen(pair, now, timing) if unheard or missed else pair


def _tried(pair: Pair, now: float, timing: Timing) -> Pair:
    if now - pair.since < timing.step:
        return pair
    if len(pair.kinds) > 1 and not _is_proven(pair):
        return _step(pair, now, pair.kinds[1:], pair.attempt + 1)
    return _failed(_relayed(pair, now), now, timing)


def _step(pair: Pair, now: float, kinds: tuple[str, ...], attempt: int) -> Pair:
    tried = (*pair.tried, kinds[0]) if pair.phase is Phase.TRYING else (kinds[0],)
    return replace(
        pair, phase=Phase.TRYING, since=now, kinds=kinds, tried=tried, attempt=attempt,
        both=False, confirmed=False, proofs=(0, 0), direct=Pulse(),
    )  # fmt: skip


def _relayed(pair: Pair, now: float) -> Pair:
    return replace(
        pair, phase=Phase.RELAYED, since=now, kinds=(), both=False, confirmed=False,
        proofs=(0, 0), direct=Pulse(),
    )  # fmt: skip


def _failed(pair: Pair, now: float, timing: Timing) -> Pair:
    wait = min(timing.longest_retry, timing.first_retry * 2.0 ** min(pair.failures, 30))
    return replace(pair, failures=pair.failures + 1, not_before=now + wait)


def _fallen(pair: Pair, now: float, timing: Timing) -> Pair:
    """Back to the relay; soon tried again where the path had held for long."""
    lasted = now - pair.since >= timing.lasting
    after = replace(_relayed(pair, now), lost_at=now)
    return _failed(replace(after, failures=0) if lasted else after, now, timing)


def _changed(pair: Pair, now: float, *, confirmed: bool) -> Pair:
    return replace(
        pair,
        phase=Phase.DIRECT,
        since=now,
        confirmed=confirmed,
        direct=liveness.forgiven(pair.direct),
    )


def _heard_while_direct(pair: Pair, word: Word, now: float, timing: Timing) -> Pair:
    if word.phase is Phase.DIRECT:
        return replace(pair, attempt=word.attempt, confirmed=True)
    if word.phase is Phase.RELAYED:
        return _fallen(pair, now, timing)
    # The leader has not changed yet, or tries anew since it has lost the path without a word.
    newer = word.attempt > pair.attempt
    return _followed(_relayed(pair, now), word, now) if newer and not pair.leads else pair


def _led(pair: Pair, word: Word, now: float) -> Pair:
    if pair.phase is not Phase.TRYING or word.attempt != pair.attempt:
        return pair
    if word.phase is Phase.TRYING:
        return replace(pair, both=True)
    if word.phase is Phase.DIRECT and _is_proven(pair):
        return _changed(pair, now, confirmed=True)
    return pair


def _followed(pair: Pair, word: Word, now: float) -> Pair:
    if word.phase is Phase.RELAYED:
        if pair.phase is not Phase.TRYING:
            return pair
        return replace(_relayed(pair, now), failures=pair.failures + 1)
    if word.phase is Phase.TRYING and word.attempt > pair.attempt:
        return replace(_step(pair, now, (word.kind,), word.attempt), both=True)
    if word.proven and word.attempt == pair.attempt and pair.phase is Phase.TRYING:
        return _changed(pair, now, confirmed=False)
    return pair
