"""Two sides of a pair and what is between them, in simulated time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from oakctl.overlay.kernel import paths
from oakctl.overlay.kernel.paths import Pair, Phase, Timing, Word

STEP_S = 0.05
ROUND = 5  # steps
LARGE_EVERY = 10


@dataclass
class Net:
    """What lets packets through. The relay loses `loss` of them."""

    works: frozenset[str]  # kinds of endpoints that lead from one to the other
    loss: float = 0.0
    delay: int = 1  # steps, one way
    direct_up: bool = True
    large_up: bool = True
    relay_up: bool = True


class Side:
    def __init__(self, leads: bool) -> None:
        self.pair = Pair(leads, wants=True)
        self.kind = ""  # of the endpoint that its tunnel has
        self.alive = True
        self.rounds = 0
        self.trials = 0

    def restart(self, now: float) -> None:
        """A new agent on the tunnel of the former."""
        leads, direct = self.pair.leads, self.pair.phase is Phase.DIRECT
        self.pair = paths.adopted(leads, now) if direct else Pair(leads)
        self.pair = replace(self.pair, wants=True)


class World:
    """Runs both; `at` holds what happens on the way: step → what."""

    def __init__(
        self, net: Net, kinds: tuple[str, ...], seed: int = 0, timing: Timing = paths.TIMING
    ) -> None:
        self.net = net
        self.kinds = kinds
        self.timing = timing
        self.sides = (Side(True), Side(False))
        self.step = 0
        self.split_s = self.longest_split_s = 0.0
        self.dark_s = 0.0  # that packets were led to where they do not get through
        self.known: tuple[str, ...] = kinds
        self._random = random.Random(seed)
        self._coming: dict[int, list[Callable[[], None]]] = {}

    @property
    def now(self) -> float:
        return 1.0 + self.step * STEP_S

    @property
    def phases(self) -> tuple[Phase, Phase]:
        return self.sides[0].pair.phase, self.sides[1].pair.phase

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.step + round(seconds / STEP_S)
        while self.step < end and not until():
            self.step += 1
            for arrive in self._coming.pop(self.step, ()):
                arrive()
            for index, side in enumerate(self.sides):
                if side.alive and (self.step + 2 * index) % ROUND == 0:
                    self._round(index)
            self._measure()

    def direct_works(self) -> bool:
        """Whether packets get through between the tunnels' direct peers."""
        first, second = self.sides
        there = all(side.pair.phase is not Phase.RELAYED for side in self.sides)
        same = first.kind == second.kind and first.kind in self.net.works
        begun = any(side.pair.both for side in self.sides)
        return there and same and begun and self.net.direct_up

    def _round(self, index: int) -> None:
        side = self.sides[index]
        self._take(side, paths.ticked(side.pair, self.now, self.kinds, self.known, self.timing))
        side.rounds += 1
        self._echo(index, direct=False, large=False)
        if paths.echoes_directly(side.pair):
            self._echo(index, direct=True, large=False)
            if side.pair.phase is Phase.TRYING or side.rounds % LARGE_EVERY == 0:
                self._echo(index, direct=True, large=True)

    def _echo(self, index: int, *, direct: bool, large: bool) -> None:
        side, word = self.sides[index], self.sides[index].pair.word()
        side.pair = paths.sent(side.pair, large, direct=direct)

        def reached() -> None:
            if self._through(direct, large):
                self._hear(1 - index, word)
                self._later(returned)

        def returned() -> None:
            if self._through(direct, large) and side.alive:
                ms = 2 * self.net.delay * STEP_S * 1e3
                if not direct or side.pair.phase is not Phase.RELAYED:
                    side.pair = paths.answered(side.pair, large, ms, direct=direct)

        self._later(reached)

    def _hear(self, index: int, word: Word) -> None:
        side = self.sides[index]
        if side.alive:
            before = side.pair
            self._take(side, paths.heard(before, word, self.now, self.timing))
            if side.pair.word() != before.word():
                self._echo(index, direct=False, large=False)

    def _take(self, side: Side, pair: Pair) -> None:
        if pair.phase is Phase.TRYING:
            side.kind = pair.kind
            if side.pair.phase is Phase.RELAYED:
                side.trials += 1
        side.pair = pair

    def _through(self, direct: bool, large: bool) -> bool:
        if direct:
            return self.direct_works() and (self.net.large_up or not large)
        return self.net.relay_up and self._random.random() >= self.net.loss

    def _later(self, what: Callable[[], None]) -> None:
        self._coming.setdefault(self.step + self.net.delay, []).append(what)

    def _measure(self) -> None:
        direct = [phase is Phase.DIRECT for phase in self.phases]
        split = direct[0] != direct[1]
        self.split_s = self.split_s + STEP_S if split else 0.0
        self.longest_split_s = max(self.longest_split_s, self.split_s)
        if split or (all(direct) and not (self.direct_works() and self.net.large_up)):
            self.dark_s += STEP_S
