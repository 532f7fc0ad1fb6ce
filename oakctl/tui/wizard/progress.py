"""How applying a plan goes: host by host, phase by phase. It is the applier's observer.

Belongs here: remembering what the screen draws. Does not belong here: drawing, making the changes.
"""

from __future__ import annotations

from collections import deque

from oakctl.errors import OakError
from oakctl.fleet.plan import Change
from oakctl.model.views import StepEvent
from oakctl.tui.viewmodels import status, words
from oakctl.tui.viewmodels.rows import Row, cell, status_cell

COLUMNS = ("Host", "State", "Phases", "Step")
KEPT_LINES = 500


class ApplyProgress:
    """What was told so far."""

    def __init__(self) -> None:
        self.changes = 0  # grows with everything that is told
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.told = 0  # lines so far
        self._hosts: dict[str, str] = {}  # state of each
        self._phases: dict[str, dict[str, str]] = {}
        self._step: dict[str, str] = {}

    def expect(self, changes: tuple[Change, ...]) -> None:
        """Show each host of a plan before its turn comes."""
        for change in changes:
            self._hosts[change.host] = "planned"
        self.changes += 1

    def begun(self, change: Change) -> None:
        """See `fleet.applier.Observer`."""
        self._hosts[change.host] = "running"
        self._say(f"{change.host}: {change.action} {change.kind} {change.name}")

    def step(self, change: Change, step: StepEvent) -> None:
        """See `fleet.applier.Observer`."""
        phases = self._phases.setdefault(step.host, {})
        phases[step.step.partition(":")[0]] = step.state
        self._hosts.setdefault(step.host, "running")
        took = f" {words.duration(step.seconds)}" if step.seconds else ""
        size = f" {step.done_bytes >> 20}/{step.total_bytes >> 20} MiB" if step.total_bytes else ""
        self._step[step.host] = f"{step.step}{size}"
        if step.state != "running":
            self._say(f"{step.host}: {step.step}: {step.state}{took} {step.message}".rstrip())
        self.changes += 1

    def ended(self, change: Change, error: OakError | None) -> None:
        """See `fleet.applier.Observer`."""
        name = f"{change.kind} {change.name}"
        if error is None:
            if self._hosts.get(change.host) != "failed":
                self._hosts[change.host] = "done"
            self._say(f"{change.host}: {name} is done")
            self._step[change.host] = ""
        else:
            self._hosts[change.host] = "failed"
            self._step[change.host] = error.message
            for line in (error.message, *error.details, error.hint):
                if line:
                    self._say(f"{change.host}: {name}: {line}")

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self.told += 1
        self.changes += 1

    def since(self, told: int) -> list[str]:
        """The kept lines after the first `told` ones."""
        new = min(self.told - told, len(self.lines))
        return list(self.lines)[len(self.lines) - new :] if new > 0 else []

    def rows(self) -> tuple[Row, ...]:
        """One for each host."""
        return tuple(
            Row(
                host,
                (
                    cell(host),
                    status_cell(status.of_word(state)),
                    cell(self._marks(host)),
                    cell(self._step.get(host, "")),
                ),
            )
            for host, state in self._hosts.items()
        )

    def _marks(self, host: str) -> str:
        marks = {"running": "…", "failed": "✗", "skipped": "✓", "done": "✓"}
        phases = self._phases.get(host, {})
        return "  ".join(f"{name} {marks.get(state, '·')}" for name, state in phases.items())
