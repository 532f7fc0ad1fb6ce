"""What is told of the getting of one image: how far it is, and signs that it goes on. Pure.

Belongs here: what counts as getting on, over several attempts. A cluster gives up an instance
that does not get on, and looks for another node: so what goes on must be told even where nothing
visible moves (a slow disk unpacks a layer), and what fails again and again must not look as if it
went on. Does not belong here: one pull's lines (`progress`), attempts and their back-off
(`images`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SIGN_EVERY_S = 10.0
BELIEVED = 3  # attempts that count as going on without visible progress; it has to move after that
STEPS = 1000  # in which progress is told


@dataclass(frozen=True)
class Effort:
    """All attempts for one image. Times are seconds by a clock that never jumps."""

    share: float = 0.0  # the most that any attempt has reached, 0 to 1
    attempts: int = 0
    began: float | None = None  # the attempt that is under way
    signs: int = 0  # of attempts that are over
    problem: str = ""  # why the last one failed, until the next one gets further
    unfit: str = ""  # the node's platform, where that was why

    def begun(self, now: float) -> Effort:
        """Another attempt."""
        return replace(self, attempts=self.attempts + 1, began=now)

    def reached(self, share: float) -> Effort:
        """The attempt under way has come this far; an earlier one may have come further."""
        if share <= self.share:
            return self
        return replace(self, share=int(share * STEPS) / STEPS, problem="", unfit="")

    def failed(self, now: float, problem: str, unfit: str = "") -> Effort:
        """The attempt is over."""
        return replace(self, began=None, signs=self.signs_at(now), problem=problem, unfit=unfit)

    def signs_at(self, now: float) -> int:
        """A number that grows while this goes on."""
        if self.began is None or self.attempts > BELIEVED:
            return self.signs
        return self.signs + int((now - self.began) / SIGN_EVERY_S)
