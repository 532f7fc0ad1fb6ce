"""The progress of a plan and its outcome in lines.

Belongs here: what is told of it and how. Does not belong here: the plan's own words
(`tui.viewmodels.plan_text`), the commands (`cli.fleet`), making the changes (`oakctl.fleet`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from oakctl.cli.diagnostics import say
from oakctl.errors import OakError, error_for
from oakctl.fleet.applier import Outcome
from oakctl.fleet.plan import Change, Plan
from oakctl.fleet.state import Fault
from oakctl.model import wire
from oakctl.model.views import StepEvent
from oakctl.tui.viewmodels.plan_text import plan_lines, summary

__all__ = ["Progress", "failure_of", "plan_lines", "result", "summary"]

DONE = {
    "register": "is known",
    "create": "is ready",
    "carry on": "is ready",
    "change": "is changed",
    "upgrade": "runs from the new release",
    "repair": "is repaired",
    "replace": "is replaced",
    "remove": "is removed",
    "forget": "is forgotten",
}


@dataclass
class Progress:
    """Tells how it goes: on a terminal each host with its phases, else a line per change."""

    detailed: bool = field(default_factory=lambda: bool(sys.stderr and sys.stderr.isatty()))
    _phases: dict[str, dict[str, str]] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)

    def begun(self, change: Change) -> None:
        """See `fleet.applier.Observer`."""
        if self.detailed and change.kind != "host":
            say(f"{change.host}: {change.action} {change.kind} {change.name}")

    def step(self, change: Change, step: StepEvent) -> None:
        """See `fleet.applier.Observer`."""
        phase = step.step.partition(":")[0]
        phases = self._phases.setdefault(step.host, {})
        phases[phase] = "failed" if step.state == "failed" else _so_far(step)
        line = _matrix_line(step.host, phases, phase)
        if self.detailed and self._told.get(step.host) != line:
            self._told[step.host] = line
            say(line)

    def ended(self, change: Change, error: OakError | None) -> None:
        """See `fleet.applier.Observer`."""
        self._phases.pop(change.host, None)
        if error is None:
            say(f"{change.kind} {change.name} {DONE[change.action]}")
        else:
            say(f"{change.kind} {change.name} failed: {error.message}")


def _so_far(step: StepEvent) -> str:
    """`3/12 MiB` of an upload that goes on."""
    if not step.total_bytes:
        return "…"
    return f"{step.done_bytes >> 20}/{step.total_bytes >> 20} MiB"


def _matrix_line(host: str, phases: dict[str, str], current: str) -> str:
    """`edge-w1: base ✓  worker …`."""
    marks = (
        f"{name} {mark if name == current or mark == 'failed' else '✓'}"
        for name, mark in phases.items()
    )
    return f"{host}: {'  '.join(marks)}"


def failure_of(plan: Plan, outcome: Outcome, again: str) -> OakError | None:
    """What did not come about, with what to type next; None when everything did."""
    failed = outcome.failed
    reported = {failure.change.host for failure in failed}
    unseen = [fault for fault in plan.faults if fault.host not in reported]
    if not failed and not unseen:
        return None
    details = [*_failure_lines(outcome), *(line for f in unseen for line in _fault_lines(f))]
    parts = []
    if failed:
        total = len(outcome.done) + len(failed)
        parts.append(f"{len(failed)} of {total} changes failed")
    if unseen:
        some = f"{len(unseen)} host{'' if len(unseen) == 1 else 's'}"
        parts.append(f"{some} could not be looked at")
    code = outcome.exit_code or unseen[0].exit_code
    hint = f"{again} carries on when that is mended"
    return error_for(code, "; ".join(parts), hint, tuple(details))


def result(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What became of a plan, for programs."""
    failed = [
        {
            "change": wire.to_plain(failure.change),
            "error": failure.error.message,
            "hint": failure.error.hint,
            "details": list(failure.error.details),
            "exit_code": int(failure.error.exit_code),
        }
        for failure in outcome.failed
    ]
    done = [wire.to_plain(change) for change in outcome.done]
    return {
        "done": done,
        "failed": failed,
        "faults": [wire.to_plain(fault) for fault in plan.faults],
        "left": [wire.to_plain(change) for change in plan.left],
        "unchanged": plan.unchanged,
    }


def _failure_lines(outcome: Outcome) -> Iterator[str]:
    for failure in outcome.failed:
        change, error = failure.change, failure.error
        yield f"{change.kind} {change.name}: {error.message}"
        yield from (f"  {detail}" for detail in error.details)
        if error.hint:
            yield f"  next: {error.hint}"


def _fault_lines(fault: Fault) -> Iterator[str]:
    yield fault.message
    if fault.hint:
        yield f"  next: {fault.hint}"
