"""How Obj lives with a Rec that is away: tasks with a deadline, and a circuit breaker.

Pure: the time is passed in. Does not belong here: messages and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE_S = 0.4  # a task without an answer for so long has failed
FAILURES = 3  # in a row open the breaker
RECOVERY_S = 1.0  # between two tries while it is open


class Breaker:
    """Closed: every task is sent. Open: one now and then, to see whether Rec is back."""

    def __init__(self, failures: int = FAILURES, recovery_s: float = RECOVERY_S) -> None:
        self.limit, self.recovery_s = failures, recovery_s
        self.open = False
        self._failures = 0
        self._next_try = 0.0

    def allows(self, now: float) -> bool:
        """Whether a task may be sent now."""
        if not self.open:
            return True
        if now < self._next_try:
            return False
        self._next_try = now + self.recovery_s
        return True

    def succeeded(self) -> None:
        """A task was answered in time."""
        self.open, self._failures = False, 0

    def failed(self, now: float) -> None:
        """A task was not."""
        self._failures += 1
        if self._failures >= self.limit and not self.open:
            self.open = True
            self._next_try = now + self.recovery_s


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    task: T
    deadline: float


class Tasks(Generic[T]):
    """Tasks that were sent and not answered yet."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._waiting: dict[object, _Waiting[T]] = {}

    def sent(self, key: object, task: T, now: float) -> None:
        """Wait for the answer to `key`."""
        self._waiting[key] = _Waiting(task, now + self.patience_s)

    def answered(self, key: object) -> bool:
        """Whether somebody still waited for this answer."""
        return self._waiting.pop(key, None) is not None

    def overdue(self, now: float) -> list[T]:
        """The tasks whose time is up; they are waited for no more."""
        late = [key for key, waiting in self._waiting.items() if waiting.deadline <= now]
        return [self._waiting.pop(key).task for key in late]
